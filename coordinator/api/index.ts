export { makeApp } from './app.ts'
export type { LogLine, Remote, Ringing, Services } from './services.ts'
