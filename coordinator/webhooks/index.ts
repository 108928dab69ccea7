export { type WebhookPorts, Webhooks } from './webhooks.ts'
