# Who may do what to the bucket, as documents alone: no provider is needed to work them out, so that a test does.

terraform {
  required_version = ">= 1.9"
}

variable "bucket_arn" {
  type = string
}

variable "prefix" {
  type    = string
  default = ""
}

variable "auditor_arns" {
  type    = list(string)
  default = []
}

variable "break_glass_arns" {
  type    = list(string)
  default = []
}

locals {
  folder  = var.prefix == "" ? var.bucket_arn : "${var.bucket_arn}/${var.prefix}"
  objects = "${local.folder}/*"
  # Segments of logs: made once, and never replaced. The checkpoint beside them is.
  segments = ["${local.folder}/runs/*/log/*", "${local.folder}/datasets/*/log/*"]
}

output "coordinator" {
  description = "Creates and reads objects, and deletes none. Without ListBucket, S3 says 403 for what is not there, and not 404."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = [local.objects]
      },
      {
        Sid      = "Absent"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [var.bucket_arn]
      },
    ]
  })
}

output "auditor" {
  description = "Reads objects, all their versions, and how long they are kept."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"]
        Resource = [local.objects]
      },
      {
        Sid      = "Bucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketPolicy"]
        Resource = [var.bucket_arn]
      },
    ]
  })
}

output "auditor_trust" {
  description = "Who may take the role of an auditor."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { AWS = var.auditor_arns }
      },
    ]
  })
}

output "bucket" {
  description = "What nobody may, whatever else they are allowed."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "EncryptedConnections"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [var.bucket_arn, "${var.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        # A PUT without If-None-Match would lay another version over a segment, which is what readers would get.
        Sid       = "SegmentsAreMadeOnce"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = local.segments
        Condition = { Null = { "s3:if-none-match" = "true" } }
      },
      merge(
        {
          Sid       = "NothingIsDeleted"
          Effect    = "Deny"
          Principal = "*"
          Action    = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"]
          Resource  = ["${var.bucket_arn}/*"]
        },
        length(var.break_glass_arns) == 0 ? {} : {
          Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.break_glass_arns } }
        },
      ),
    ]
  })
}
