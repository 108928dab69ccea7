import { Webhook } from 'standardwebhooks'
import type { Attempt } from '../../shared/api/index.ts'
import type { RandomBytes } from '../directory/index.ts'

/** What a message is sent with. */
export interface Envelope {
  readonly url: string
  readonly id: string
  readonly body: string
  /** Each signs: more than one while a secret is being replaced. */
  readonly secrets: readonly string[]
}

export type Fetch = (url: string, init: RequestInit) => Promise<Response>

const TIMEOUT_MS = 15_000

/** A secret of 32 random bytes, as https://www.standardwebhooks.com has them. */
export function newSecret(random: RandomBytes): string {
  return `whsec_${btoa(String.fromCharCode(...random(32)))}`
}

/**
 * Sends a message once, signed by HMAC-SHA256 over its id, the time and the body (Standard Webhooks, "Signature scheme"). Redirects
 * are not followed, and nothing of the answer is read but its status.
 */
export async function send(envelope: Envelope, ports: { fetch: Fetch; now: () => number }): Promise<Attempt> {
  const { url, id, body, secrets } = envelope
  const time = Math.floor(ports.now())
  const signed = new Date(time)
  const signatures = secrets.map((secret) => new Webhook(secret).sign(id, signed, body))
  const headers = {
    'Content-Type': 'application/json',
    'User-Agent': 'sotto-webhooks/1',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(time / 1000)),
    'webhook-signature': signatures.join(' '),
  }
  const ended = (status: number | null, outcome: Attempt['outcome']): Attempt => {
    return { time, ms: Math.max(0, Math.round(ports.now() - time)), status, outcome }
  }
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  try {
    const answer = await ports.fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal })
    await answer.body?.cancel()
    return ended(answer.status, answer.ok ? 'delivered' : 'refused')
  } catch {
    // The error has the address in it; which of the two it was is all that is told.
    return ended(null, signal.aborted ? 'timeout' : 'unreachable')
  }
}

/** Pauses between attempts: those that Standard Webhooks recommends. */
const PAUSES_SECONDS = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
/** A tenth of a pause at most is added at random, so that those who failed together do not come back together. */
const JITTER = 0.1

/** Milliseconds until the next attempt after `tries` of them, or null where there is none. */
export function pauseAfter(tries: number, random: RandomBytes): number | null {
  const seconds = PAUSES_SECONDS[tries - 1]
  return seconds === undefined ? null : Math.round(1000 * seconds * (1 + (JITTER * random(1)[0]!) / 256))
}
