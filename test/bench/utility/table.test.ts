import { describe, expect, it } from 'vitest'
import type { FinishedCell } from './results.ts'
import { markdown, summary } from './table.ts'

const cell = (part: Partial<FinishedCell>): FinishedCell => ({
  ...{ task: 'sst2', method: 'sotto', epsilon: 2, seed: 1, split: 'test', setting: null, accuracy: 0.5 },
  ...{ spent: null, noiseMultiplier: null, rounds: 1, passes: 100, seconds: 1 },
  ...part,
})

describe('the table', () => {
  it('has the mean and the standard deviation of a sample', () => {
    expect(summary([1, 2, 3, 4])).toEqual({ mean: 2.5, deviation: Math.sqrt(5 / 3) })
    expect(summary([7])).toEqual({ mean: 7, deviation: 0 })
  })

  it('has a column a task and epsilon, and what spends none in each of them', () => {
    const cells = [
      cell({ method: 'zero-shot', epsilon: null, accuracy: 0.601 }),
      cell({ accuracy: 0.7 }),
      cell({ seed: 2, accuracy: 0.8 }),
      cell({ epsilon: 6, accuracy: 0.9 }),
    ]
    expect(markdown(cells)).toBe(
      [
        '| method | sst2, ε 2 | sst2, ε 6 |',
        '| --- | ---: | ---: |',
        '| zero-shot | 60.1 | 60.1 |',
        '| sotto | 75.0 ± 7.1 | 90.0 |',
      ].join('\n'),
    )
  })
})
