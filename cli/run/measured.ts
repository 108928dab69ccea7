import type { RunEvent } from '../../shared/api/index.ts'

export type Measured =
  | 'private_loss'
  | 'clipped_share'
  | 'signal_to_noise'
  | 'epsilon'
  | 'public_loss'
  | 'public_accuracy'

/** One number of a run, as the coordinator told it. */
export interface Measurement {
  readonly name: Measured
  readonly value: number
  /** Milliseconds since 1970. */
  readonly time: number
  readonly round: number
  /** Of which dataset, where it is of one. */
  readonly dataset?: string
}

/** Everything of an event that is a number by round. All of it is public: it follows from what was released. */
export function measurementsOf(event: RunEvent): Measurement[] {
  const found: Measurement[] = []
  const add = (name: Measured, value: number | null, of: { dataset?: string } = {}) => {
    if (value !== null && 'round' in event) found.push({ name, value, time: event.time, round: event.round, ...of })
  }
  if (event.type === 'round.closed') {
    add('private_loss', event.privateLoss)
    add('clipped_share', event.clippedShare)
    add('signal_to_noise', event.signalToNoise)
    for (const [dataset, epsilon] of Object.entries(event.spent)) add('epsilon', epsilon, { dataset })
  }
  if (event.type === 'round.evaluated' && event.evaluation) {
    const { records, correct, loss } = event.evaluation
    // The wire has millionths of a nat.
    add('public_loss', loss === null ? null : loss / 1e6)
    add('public_accuracy', correct === null || records === 0 ? null : correct / records)
  }
  return found
}
