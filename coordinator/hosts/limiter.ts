import type { HttpBindings } from '@hono/node-server'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import type { Limiter, Limits } from '../api/index.ts'

const PERIOD_SECONDS = 10

function limiter(points: number): Limiter {
  const memory = new RateLimiterMemory({ points, duration: PERIOD_SECONDS })
  return {
    take: async (caller) => {
      try {
        await memory.consume(caller)
        return null
      } catch (refusal) {
        if (!(refusal instanceof RateLimiterRes)) throw refusal
        return Math.max(1, Math.ceil(refusal.msBeforeNext / 1000))
      }
    },
  }
}

/** Limits of one process. @param rate requests of one token in ten seconds; 0 for none */
export function nodeLimits(rate: number): Limits {
  return {
    callers: rate === 0 ? null : limiter(rate),
    strangers: rate === 0 ? null : limiter(rate),
    addressOf: (c) => (c.env as unknown as Partial<HttpBindings>).incoming?.socket.remoteAddress ?? null,
  }
}
