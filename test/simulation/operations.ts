import { randomOf } from './random.ts'

/** What becomes of a message on its way: it arrives, is lost, or its answer is lost. */
export const FATES = ['arrives', 'arrives', 'arrives', 'request lost', 'reply lost'] as const

/**
 * One thing that happens. Numbers name a worker, a run, a dataset or an object by its place in the list of those there are, so that
 * what is left when others are taken out of a schedule still means something.
 */
export type Operation =
  | { readonly op: 'open'; readonly run: number; readonly size: number }
  /** A worker does what comes next: it asks for a lease, makes the bytes for it and keeps them, or sends what it keeps. */
  | { readonly op: 'work'; readonly worker: number; readonly fate: (typeof FATES)[number]; readonly value: number }
  /** Other bytes for a lease that was reported, as a second process of a worker would send. */
  | { readonly op: 'mutate'; readonly worker: number; readonly value: number }
  /** A report from before, again. */
  | { readonly op: 'resubmit'; readonly worker: number; readonly back: number }
  | { readonly op: 'worker crash'; readonly worker: number }
  | { readonly op: 'crash' | 'alarm twice' }
  | { readonly op: 'evict'; readonly actor: number }
  /** One of the writes to come is lost, or done and told to have failed. */
  | { readonly op: 'mishap'; readonly after: number; readonly mode: 'lost' | 'kept' }
  | { readonly op: 'store'; readonly down: boolean }
  | { readonly op: 'advance' | 'rewind'; readonly seconds: number }
  | { readonly op: 'freeze'; readonly dataset: number; readonly frozen: boolean }
  | { readonly op: 'pause' | 'resume' | 'cancel'; readonly run: number }
  /** One byte of one object, which an audit has to find; it is mended after. */
  | { readonly op: 'corrupt'; readonly object: number; readonly byte: number }
  | { readonly op: 'backup' | 'restore'; readonly actor: number }

const LENGTH = 60

/** A schedule that follows from its seed. */
export function scheduleOf(seed: number): Operation[] {
  const random = randomOf(seed)
  const worker = () => random(4)
  const fate = () => FATES[random(FATES.length)]!
  const kinds: readonly [weight: number, make: () => Operation][] = [
    [5, () => ({ op: 'open', run: random(3), size: random(3) })],
    [60, () => ({ op: 'work', worker: worker(), fate: fate(), value: random(1000) })],
    [4, () => ({ op: 'mutate', worker: worker(), value: random(1000) })],
    [4, () => ({ op: 'resubmit', worker: worker(), back: random(6) })],
    [3, () => ({ op: 'worker crash', worker: worker() })],
    [4, () => ({ op: 'crash' })],
    [4, () => ({ op: 'evict', actor: random(5) })],
    [6, () => ({ op: 'mishap', after: random(6), mode: random(2) === 0 ? 'lost' : 'kept' })],
    [2, () => ({ op: 'store', down: true })],
    [4, () => ({ op: 'store', down: false })],
    [4, () => ({ op: 'alarm twice' })],
    [7, () => ({ op: 'advance', seconds: [1, 20, 61, 120, 600][random(5)]! })],
    [2, () => ({ op: 'rewind', seconds: [1, 60, 600][random(3)]! })],
    [1, () => ({ op: 'freeze', dataset: random(2), frozen: true })],
    [2, () => ({ op: 'freeze', dataset: random(2), frozen: false })],
    [1, () => ({ op: 'pause', run: random(3) })],
    [2, () => ({ op: 'resume', run: random(3) })],
    [1, () => ({ op: 'cancel', run: random(3) })],
    [2, () => ({ op: 'corrupt', object: random(100), byte: random(10_000) })],
    [2, () => ({ op: 'backup', actor: random(5) })],
    // Rarely: little may be said of what comes after.
    [random(4) === 0 ? 3 : 0, () => ({ op: 'restore', actor: random(5) })],
  ]
  const total = kinds.reduce((sum, [weight]) => sum + weight, 0)
  const next = (): Operation => {
    let at = random(total)
    for (const [weight, make] of kinds) {
      if (at < weight) return make()
      at -= weight
    }
    throw new RangeError('beyond all weights')
  }
  return [{ op: 'open', run: 0, size: random(3) }, ...Array.from({ length: LENGTH }, next)]
}
