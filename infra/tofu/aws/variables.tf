variable "bucket" {
  description = "Name of the bucket that the coordinator writes logs, models and adapters to."
  type        = string
}

variable "prefix" {
  description = "SOTTO_S3_PREFIX of the coordinator, where it has one: a folder of the bucket."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*)?$", var.prefix))
    error_message = "The prefix is a folder, without a slash at its ends."
  }
}

variable "retention" {
  description = "How long no version of an object can be deleted, and whether anybody may take that back: GOVERNANCE lets those of break_glass_arns, COMPLIANCE nobody, the account's root neither. null: versions are kept by the bucket's policy alone."
  type = object({
    mode = string
    days = number
  })
  default = {
    mode = "GOVERNANCE"
    days = 365
  }

  validation {
    condition     = var.retention == null ? true : contains(["GOVERNANCE", "COMPLIANCE"], var.retention.mode) && var.retention.days >= 1
    error_message = "The mode is GOVERNANCE or COMPLIANCE, for one day or more."
  }
}

variable "auditor_arns" {
  description = "Who may take the role of an auditor: ARNs of accounts, roles or users."
  type        = list(string)
  default     = []
}

variable "break_glass_arns" {
  description = "Roles that may delete objects and their versions, as far as the retention lets them. Left empty, nobody."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
