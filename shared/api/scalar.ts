import { z } from 'zod'

/** SHA-256 in lower-case hexadecimal. */
export const HexHash = z.string().regex(/^[0-9a-f]{64}$/)
/** Name of a dataset, run, worker, token or lease. */
export const Identifier = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/)
/** Public seed of a run: 64 bits in hexadecimal. */
export const Seed = z.string().regex(/^[0-9a-f]{16}$/)

/** No sensible scale of a run is larger: what is computed from them stays far from overflow. */
export const SCALE_MAX = 1e6
/** Share of the clip that an extra coordinate of the report takes; 0 for none. */
export const clipPart = z.union([z.literal(0), z.number().min(0.01).max(0.99)])
export const scale = z.number().positive().max(SCALE_MAX)

/** The least number of some significant digits that is not below `value`. */
export function roundUp(value: number, digits: number): number {
  const rounded = Number(value.toPrecision(digits))
  if (rounded >= value) return rounded
  const step = 10 ** (Math.floor(Math.log10(value)) + 1 - digits)
  return Number((rounded + step).toPrecision(digits))
}

/** The address, where it is over the network with TLS or on the machine itself; null for any other text. */
export function secureUrl(text: string): URL | null {
  const url = URL.parse(text)
  const isLocal = url?.protocol === 'http:' && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname)
  return url?.protocol === 'https:' || isLocal ? url : null
}
