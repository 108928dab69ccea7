export { type App, makeApp } from './app.ts'
export type { Limiter, Limits } from './limit.ts'
export { type Identify, identifyBy, type OidcRule, oidcRulesSchema } from './oidc.ts'
export type { LogLine, Remote, Ringing, Services } from './services.ts'
