variable "account_id" {
  description = "The account. CLOUDFLARE_API_TOKEN has a token that may edit its Workers and R2."
  type        = string
}

variable "bucket" {
  description = "Name of the R2 bucket. wrangler.toml has the same one."
  type        = string
  default     = "sotto"
}

variable "jurisdiction" {
  description = "Where the bucket may lie: default, eu or fedramp."
  type        = string
  default     = "default"

  validation {
    condition     = contains(["default", "eu", "fedramp"], var.jurisdiction)
    error_message = "The jurisdiction is default, eu or fedramp."
  }
}

variable "hostname" {
  description = "The coordinator's address, such as sotto.example.org, in the zone of zone_id. Empty: that of workers.dev."
  type        = string
  default     = ""
}

variable "zone_id" {
  description = "The zone of the hostname."
  type        = string
  default     = ""

  validation {
    condition     = (var.zone_id == "") == (var.hostname == "")
    error_message = "A hostname needs its zone_id."
  }
}

variable "log_name" {
  description = "What the coordinator's logs are called: an address without its scheme."
  type        = string
}
