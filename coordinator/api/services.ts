import type { LogIdentity } from '../../shared/api/index.ts'
import type { DatasetActor } from '../dataset/index.ts'
import type { Directory, RandomBytes } from '../directory/index.ts'
import type { ObjectStore } from '../objects/store.ts'
import type { Run } from '../run/index.ts'
import type { Webhooks } from '../webhooks/index.ts'
import type { Limits } from './limit.ts'
import type { Identify } from './oidc.ts'

/** The fields a log line may have: names, ids, codes and times. Bodies, tokens, paths with values and texts have no field. */
export interface LogLine {
  readonly event: 'request' | 'fault' | 'start' | 'stop'
  readonly method?: string
  /** The pattern of the route, never the path. */
  readonly route?: string
  readonly status?: number
  readonly code?: string
  readonly ms?: number
  readonly run?: string
  readonly dataset?: string
  readonly request?: string
  /** Of the caller's trace (W3C Trace Context), or one that began here; `request` is the span. */
  readonly trace?: string
}

/** Methods of an actor that may live elsewhere: called across a network, or in this process. */
export type Remote<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R
    ? (...args: A) => Awaited<R> | Promise<Awaited<R>>
    : never
}

/** The bell as those see it who wait. */
export interface Ringing {
  mark(topic: string): number | Promise<number>
  wait(topic: string, question: { mark: number; ms: number; signal?: AbortSignal | undefined }): Promise<void>
  /** The coordinator shuts down: nobody should wait any more. */
  readonly closed: boolean
}

export interface Services {
  readonly directory: Remote<Directory>
  readonly datasets: { get(id: string): Promise<Remote<DatasetActor>> }
  readonly runs: { get(id: string): Promise<Remote<Run>> }
  readonly webhooks: Remote<Webhooks>
  readonly objects: ObjectStore
  /** Whose logs these are. */
  readonly logIdentity: LogIdentity
  /** Whom tokens of identity providers speak for; null where none is trusted. */
  readonly identify: Identify | null
  readonly limits: Limits
  readonly bell: Ringing
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly random: RandomBytes
  readonly log: (line: LogLine) => void
}
