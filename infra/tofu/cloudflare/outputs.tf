output "endpoint" {
  description = "S3 endpoint of the bucket, for auditors."
  value       = local.endpoint
}

output "secrets" {
  description = "Put these with `npx wrangler secret put NAME`. Until then the Worker answers 503."
  value       = ["SOTTO_ADMIN_TOKEN", "SOTTO_LOG_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
}
