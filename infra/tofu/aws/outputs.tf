output "settings" {
  description = "Settings of the coordinator. Its keys: aws iam create-access-key --user-name USER."
  value = {
    SOTTO_S3_BUCKET = aws_s3_bucket.log.bucket
    SOTTO_S3_REGION = aws_s3_bucket.log.region
    SOTTO_S3_PREFIX = var.prefix
  }
}

output "coordinator_user" {
  description = "The user whose keys the coordinator has."
  value       = aws_iam_user.coordinator.name
}

output "auditor_role_arn" {
  description = "The role of auditors, where there is any."
  value       = one(aws_iam_role.auditor[*].arn)
}
