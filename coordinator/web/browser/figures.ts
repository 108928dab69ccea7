import { roundUp } from '../../../shared/api/index.ts'

const DIGITS = 4

/** An upper bound, which may be shown larger than it is and never smaller. */
export const upper = (epsilon: number): string => (Number.isFinite(epsilon) ? String(roundUp(epsilon, DIGITS)) : '∞')

/** A lower bound, which may be shown smaller and never larger. */
export function lower(epsilon: number): string {
  const rounded = Number(epsilon.toPrecision(DIGITS))
  if (rounded <= epsilon) return String(rounded)
  const step = 10 ** (Math.floor(Math.log10(epsilon)) + 1 - DIGITS)
  return String(Number((rounded - step).toPrecision(DIGITS)))
}

export const short = (value: number | null, digits = DIGITS): string =>
  value === null || !Number.isFinite(value) ? '–' : String(Number(value.toPrecision(digits)))

export const percent = (share: number | null): string => (share === null ? '–' : `${(100 * share).toFixed(1)} %`)

const grouped = new Intl.NumberFormat('en')
export const count = (value: number): string => grouped.format(Math.round(value))

const BYTES = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const
export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(BYTES.length - 1, Math.floor(Math.log2(value) / 10))
  return power === 0 ? `${count(value)} bytes` : `${short(value / 1024 ** power, 3)} ${BYTES[power]}`
}

const SPANS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
] as const
/** A span of time in the unit that fits. */
export function span(seconds: number): string {
  const [size, unit] = SPANS.find(([each]) => seconds >= each) ?? [1, 's']
  return `${short(seconds / size, seconds < 10 ? 3 : 2)} ${unit}`
}

const stamp = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' })
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const shown = (format: Intl.DateTimeFormat, ms: number) =>
  Number.isFinite(new Date(ms).getTime()) ? format.format(ms) : '–'
export const moment = (ms: number): string => shown(stamp, ms)
export const timeOfDay = (ms: number): string => shown(clock, ms)
export const ago = (ms: number, now = Date.now()): string => `${span(Math.max(0, Math.round((now - ms) / 1000)))} ago`

/** Of long runs of letters enough to know them by. */
export const brief = (hash: string): string => `${hash.slice(0, 12)}…`
