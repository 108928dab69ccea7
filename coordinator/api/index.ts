export { makeApp } from './app.ts'
export type { LogLine, Remote, Services } from './services.ts'
