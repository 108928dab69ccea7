import { describe, expect, it } from 'vitest'
import { coefficients } from '../zo/update.ts'
import { appendEntries, EMPTY_LOG, LedgerError } from './chain.ts'
import type { RunEntry } from './record.ts'
import { verifyRun } from './verify.ts'

const stage = {
  rounds: 4,
  learningRate: 0.1,
  radius: 0.01,
  directions: 2,
  clip: 1,
  grid: 0.5,
  noiseMultiplier: 1.5,
  samplingRate: 0.1,
  prox: 0,
  lossShare: 0,
  lossBound: 2,
  clipShare: 0,
  momentum: 0,
  average: false,
  normalise: false,
}
const spec: RunEntry = {
  type: 'spec',
  run: 'run-1',
  spec: {
    version: 3,
    model: 'a'.repeat(64),
    task: {
      kind: 'prompt-classification',
      template: '{mask} {text}',
      labels: { ham: 'list', spam: 'money' },
      maxTokens: 16,
      buckets: [16],
    },
    space: {
      kind: 'lora',
      distribution: 'rademacher',
      rank: 1,
      trained: 'factor',
      bases: 'singular',
      sites: [{ name: 's', inputs: 2, outputs: 2, scale: 1 }],
    },
    clipping: 'joint',
    noise: 'gaussian',
    sides: 'two',
    aggregation: { rule: 'mean' },
    stages: [stage],
    datasets: [
      { id: 'east', units: 100, unit: 'record' },
      { id: 'north', units: 300, unit: 'record' },
    ],
    neighbours: 'add-remove',
    trust: 'local',
    budget: { epsilon: 4, delta: 1e-5 },
    spareCharges: 4,
    quorum: 2,
    deadlineSeconds: 60,
    leaseSeconds: 60,
    seed: '0123456789abcdef',
  },
}
const event = { mechanism: 'gaussian', noiseMultiplier: 1.5, samplingRate: 0.1, neighbours: 'add-remove' } as const
const charge = (dataset: string, more: object = {}) =>
  ({ type: 'charge', round: 0, dataset, lease: `l-${dataset}`, attempt: 0, event, ...more }) as RunEntry
const report = (dataset: string, more: object = {}) => ({
  dataset,
  lease: `l-${dataset}`,
  worker: `w-${dataset}`,
  integers: [3, -5],
  signature: 'x',
  ...more,
})
const reports = [report('east'), report('north')]
const weighed = [
  { integers: [3, -5], units: 100 },
  { integers: [3, -5], units: 300 },
]
const close = (more: object = {}) =>
  ({
    type: 'close',
    round: 0,
    reports,
    coefficients: coefficients(weighed, stage),
    stateHash: 'b'.repeat(64),
    ...more,
  }) as RunEntry
const open: RunEntry = { type: 'open', round: 0, stage: 0 }
const log = (...entries: RunEntry[]) => appendEntries(EMPTY_LOG, entries, 1).segment.records
const codeOf = (...entries: RunEntry[]) => {
  try {
    verifyRun(log(...entries))
  } catch (error) {
    return error instanceof LedgerError ? error.code : String(error)
  }
  return 'verified'
}

describe('verifyRun', () => {
  const charged = [spec, open, charge('east'), charge('north')]

  it('passes a log in which every report was charged and every coefficient follows', () => {
    expect(codeOf(...charged, close())).toBe('verified')
  })

  it.each<[string, RunEntry[], string]>([
    ['no spec', [open], 'not_a_record'],
    ['a report without a charge', [spec, open, charge('east'), close()], 'uncharged_report'],
    ['a charge after its report', [spec, open, charge('east'), close(), charge('north')], 'uncharged_report'],
    [
      'the charge of another round',
      [spec, open, charge('east'), charge('north', { round: 1 }), close()],
      'uncharged_report',
    ],
    [
      'the charge of another dataset',
      [...charged, close({ reports: [report('east'), report('north', { lease: 'l-east' })] })],
      'uncharged_report',
    ],
    [
      'a dataset that counts twice',
      [...charged, close({ reports: [...reports, report('north')] })],
      'uncharged_report',
    ],
    ['a lease that counts twice', [...charged, close(), close()], 'uncharged_report'],
    [
      'a charge for less than was done',
      [spec, open, charge('east', { event: { ...event, noiseMultiplier: 9 } }), charge('north'), close()],
      'uncharged_report',
    ],
    ['fewer reports than the quorum', [...charged, close({ reports: [report('east')] })], 'wrong_update'],
    ['a loss where none rode along', [...charged, close({ privateLoss: 1 })], 'wrong_update'],
    ['a coefficient of its own', [...charged, close({ coefficients: [1, 2] })], 'wrong_update'],
    [
      'a report of another length',
      [...charged, close({ reports: [report('east'), report('north', { integers: [3] })] })],
      'wrong_update',
    ],
  ])('refuses %s', (_, entries, code) => {
    expect(codeOf(...entries)).toBe(code)
  })
  it('recomputes the private loss of every round', () => {
    const withLoss = { ...stage, lossShare: 0.2 }
    const integers = [3, -5, -2]
    const weighed = [
      { integers, units: 100 },
      { integers, units: 300 },
    ]
    const entries = (more: object): RunEntry[] => [
      { ...spec, spec: { ...spec.spec, stages: [withLoss] } },
      open,
      charge('east'),
      charge('north'),
      close({
        reports: reports.map((each) => ({ ...each, integers })),
        coefficients: coefficients(weighed, withLoss),
        ...more,
      }),
    ]
    // Four steps of 0.5 below zero, a fifth of the clip for a loss of 2, over 40 expected units.
    expect(codeOf(...entries({ privateLoss: -0.5 }))).toBe('verified')
    expect(codeOf(...entries({ privateLoss: -0.5 * (1 - 2 ** -52) }))).toBe('wrong_update')
    expect(codeOf(...entries({}))).toBe('wrong_update')
  })

  it('recomputes the share of clipped units, behind the loss', () => {
    const told = { ...stage, lossShare: 0.2, clipShare: 0.5 }
    const integers = [3, -5, -2, 8]
    const weighed = [100, 300].map((units) => ({ integers, units }))
    const entries = (more: object): RunEntry[] => [
      { ...spec, spec: { ...spec.spec, stages: [told] } },
      open,
      charge('east'),
      charge('north'),
      close({
        reports: reports.map((each) => ({ ...each, integers })),
        coefficients: coefficients(weighed, told),
        privateLoss: -0.5,
        ...more,
      }),
    ]
    // Sixteen steps of 0.5, half the clip for a unit that was clipped, over 40 expected units.
    expect(codeOf(...entries({ clippedShare: 0.4 }))).toBe('verified')
    expect(codeOf(...entries({ clippedShare: 0.4 * (1 + 2 ** -52) }))).toBe('wrong_update')
    expect(codeOf(...entries({}))).toBe('wrong_update')
  })
})
