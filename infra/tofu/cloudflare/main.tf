# The bucket, the Worker and its address. Wrangler deploys the Worker, as wrangler.toml says which Durable Objects and limits it has:
# a second list here would drift from it. Secrets are put by Wrangler too, and so never lie in the state of OpenTofu.
#
# R2 keeps no versions, and its locks are for whole folders: one over the logs would stop their checkpoints, which are replaced.
# Where nobody may delete a log, take the bucket of ../aws.

locals {
  root     = abspath("${path.module}/../../..")
  place    = var.jurisdiction == "default" ? "" : "${var.jurisdiction}."
  endpoint = "https://${var.account_id}.${local.place}r2.cloudflarestorage.com"
  # What the Worker is made of.
  sources = concat(
    ["package-lock.json", "wrangler.toml"],
    [for file in fileset(local.root, "{coordinator,shared}/**/*.ts") : file if !endswith(file, ".test.ts")],
  )
}

resource "cloudflare_r2_bucket" "log" {
  account_id   = var.account_id
  name         = var.bucket
  jurisdiction = var.jurisdiction

  lifecycle {
    prevent_destroy = true
  }
}

resource "terraform_data" "worker" {
  triggers_replace = {
    sources  = sha256(join("", [for file in local.sources : filesha256("${local.root}/${file}")]))
    endpoint = local.endpoint
    bucket   = cloudflare_r2_bucket.log.name
    log_name = var.log_name
  }

  provisioner "local-exec" {
    working_dir = local.root
    command     = "npx wrangler deploy --var \"SOTTO_S3_ENDPOINT:$ENDPOINT\" --var \"SOTTO_S3_BUCKET:$BUCKET\" --var \"SOTTO_LOG_NAME:$LOG_NAME\""

    environment = {
      CLOUDFLARE_ACCOUNT_ID = var.account_id
      ENDPOINT              = local.endpoint
      BUCKET                = cloudflare_r2_bucket.log.name
      LOG_NAME              = var.log_name
    }
  }
}

resource "cloudflare_workers_custom_domain" "coordinator" {
  count = var.hostname == "" ? 0 : 1

  account_id = var.account_id
  zone_id    = var.zone_id
  hostname   = var.hostname
  service    = "sotto"

  depends_on = [terraform_data.worker]
}
