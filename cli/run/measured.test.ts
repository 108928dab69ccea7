import { describe, expect, test } from 'vitest'
import type { RunEvent } from '../../shared/api/index.ts'
import { measurementsOf } from './measured.ts'

const at = { seq: 7, time: 1_700_000_000_123, round: 50 }
const told = { time: at.time, round: at.round }
const evaluated = (evaluation: Extract<RunEvent, { type: 'round.evaluated' }>['evaluation']): RunEvent => ({
  type: 'round.evaluated',
  ...at,
  evaluation,
})

describe('measurementsOf', () => {
  test('an evaluation is its loss in nats and its share of right records', () => {
    expect(measurementsOf(evaluated({ records: 40, correct: 30, loss: 1_250_000 }))).toEqual([
      { name: 'public_loss', value: 1.25, ...told },
      { name: 'public_accuracy', value: 0.75, ...told },
    ])
  })

  test.each([
    [evaluated(null)],
    [evaluated({ records: 0, correct: 0, loss: null })],
    [evaluated({ records: 9, correct: null, loss: null })],
    [{ type: 'round.opened', ...at } as const],
    [{ type: 'run.ended', seq: 9, time: at.time, state: 'completed' } as const],
  ])('%j measures nothing', (event) => expect(measurementsOf(event)).toEqual([]))

  test('a round has no number where nothing was released', () => {
    const closed = { type: 'round.closed', ...at, privateLoss: null, clippedShare: null, signalToNoise: 0.5 } as const
    expect(measurementsOf({ ...closed, stateHash: '0'.repeat(64), spent: { north: 1, east: 2 } })).toEqual([
      { name: 'signal_to_noise', value: 0.5, ...told },
      { name: 'epsilon', value: 1, ...told, dataset: 'north' },
      { name: 'epsilon', value: 2, ...told, dataset: 'east' },
    ])
  })
})
