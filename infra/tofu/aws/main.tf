# The bucket of a coordinator, what may be done to it, and by whom. Keys of the coordinator are not made here: they would lie in the
# state of OpenTofu.

module "policies" {
  source = "./policies"

  bucket_arn       = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}"
  prefix           = var.prefix
  auditor_arns     = var.auditor_arns
  break_glass_arns = var.break_glass_arns
}

data "aws_partition" "current" {}

resource "aws_s3_bucket" "log" {
  bucket = var.bucket
  # Only a bucket that is made with it has it from its first object on.
  object_lock_enabled = true
  force_destroy       = false
  tags                = var.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "log" {
  bucket = aws_s3_bucket.log.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "log" {
  count  = var.retention == null ? 0 : 1
  bucket = aws_s3_bucket.log.id

  rule {
    default_retention {
      mode = var.retention.mode
      days = var.retention.days
    }
  }

  depends_on = [aws_s3_bucket_versioning.log]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "log" {
  bucket = aws_s3_bucket.log.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "log" {
  bucket = aws_s3_bucket.log.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "log" {
  bucket = aws_s3_bucket.log.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "log" {
  bucket = aws_s3_bucket.log.id
  policy = module.policies.bucket

  depends_on = [aws_s3_bucket_public_access_block.log]
}

# A user and no role: the coordinator signs addresses for hours with keys that do not change.
resource "aws_iam_user" "coordinator" {
  name = "${var.bucket}-coordinator"
  tags = var.tags
}

resource "aws_iam_user_policy" "coordinator" {
  name   = "objects"
  user   = aws_iam_user.coordinator.name
  policy = module.policies.coordinator
}

resource "aws_iam_role" "auditor" {
  count = length(var.auditor_arns) == 0 ? 0 : 1

  name               = "${var.bucket}-auditor"
  assume_role_policy = module.policies.auditor_trust
  tags               = var.tags
}

resource "aws_iam_role_policy" "auditor" {
  count = length(var.auditor_arns) == 0 ? 0 : 1

  name   = "objects"
  role   = aws_iam_role.auditor[0].name
  policy = module.policies.auditor
}
