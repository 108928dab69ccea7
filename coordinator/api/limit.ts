import type { ApiContext } from './route.ts'

/** Counts requests of one caller. */
export interface Limiter {
  /** @returns null where the request may pass, else the seconds after which another may */
  take(caller: string): Promise<number | null>
}

/** Limits of one coordinator. */
export interface Limits {
  /** Of those who have a valid token, each by itself. */
  readonly callers: Limiter | null
  /** Of requests without one, by address. */
  readonly strangers: Limiter | null
  readonly addressOf: (c: ApiContext) => string | null
}
