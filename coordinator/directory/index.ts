export {
  Directory,
  type Page,
  type PageRequest,
  type Principal,
  type RunState,
  type Scope,
  type WorkerIdentity,
} from './directory.ts'
export type { Request } from './requests.ts'
export { hex, newId, newToken, type RandomBytes } from './secret.ts'
