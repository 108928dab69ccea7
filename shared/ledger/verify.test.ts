import { describe, expect, it } from 'vitest'
import { replayStart } from '../zo/replay.ts'
import { stateHash } from '../zo/state.ts'
import { coefficients } from '../zo/update.ts'
import { EMPTY_LOG, LedgerError, runLog } from './chain.ts'
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
const spec: Extract<RunEntry, { type: 'spec' }> = {
  type: 'spec',
  run: 'run-1',
  spec: {
    version: 5,
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
    evaluation: null,
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
  publicKey: 'x',
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
const log = (...entries: RunEntry[]) => runLog.append(EMPTY_LOG, entries, 1).segment.records
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

describe('a pause', () => {
  const charged = [charge('east'), charge('north'), close()]
  const pause: RunEntry = { type: 'pause', frozen: null }
  const resume: RunEntry = { type: 'resume' }
  it.each<[string, RunEntry[], string]>([
    ['between rounds', [pause, resume, open, ...charged], 'verified'],
    ['within a round', [open, pause, ...charged, resume], 'verified'],
    ['in which a round is opened', [pause, open, ...charged], 'out_of_order'],
    ['of a pause', [pause, pause], 'out_of_order'],
    ['that ends before it began', [resume], 'out_of_order'],
  ])('%s', (_, entries, code) => {
    expect(codeOf(spec, ...entries)).toBe(code)
  })
})

describe('public work', () => {
  const start = stateHash(replayStart(spec.spec).state)
  const evaluated = { ...spec, spec: { ...spec.spec, evaluation: { data: 'e'.repeat(64), every: 4 } } }
  const names = { run: 'run-1', specHash: 'a'.repeat(64), lease: 'l', dataset: 'east', round: 0, stateHash: start }
  const signature = `${'A'.repeat(86)}==`
  const evaluation = (more: object = {}, round = 0): RunEntry => {
    const report = { kind: 'evaluation', ...names, records: 10, correct: 7, loss: 5, signature, ...more } as const
    return { type: 'evaluation', round, answer: { worker: 'w', publicKey: 'x', report } }
  }
  const rest = [open, charge('east'), charge('north'), close()]

  it.each<[string, RunEntry[], string]>([
    ['an evaluation before the round that waits for it', [evaluated, evaluation(), ...rest], 'verified'],
    ['one that nobody made', [evaluated, { type: 'evaluation', round: 0, answer: null }, ...rest], 'verified'],
    ['a round that did not wait', [evaluated, ...rest], 'wrong_public_work'],
    ['an evaluation that none asked for', [spec, evaluation(), ...rest], 'wrong_public_work'],
    ['two evaluations', [evaluated, evaluation(), evaluation(), ...rest], 'wrong_public_work'],
    ['one of another model', [evaluated, evaluation({ stateHash: 'f'.repeat(64) }), ...rest], 'wrong_public_work'],
    ['one of other rounds', [evaluated, evaluation({ round: 4 }, 4), ...rest], 'wrong_public_work'],
    ['more labels found than there are', [evaluated, evaluation({ correct: 11 }), ...rest], 'wrong_public_work'],
  ])('%s', (_, entries, code) => {
    expect(codeOf(...entries)).toBe(code)
  })

  const tensors = [
    { name: 'a', shape: [4, 5], kept: 6 },
    { name: 'b', shape: [10], kept: 4 },
  ]
  const space = {
    ...({ kind: 'pruned', distribution: 'rademacher', weighted: false } as const),
    ...{ tensors, mask: 'c'.repeat(64) },
  }
  const prune = {
    ...({ score: 'forward', keep: 0.5, order: 'highest', scope: 'layer', weighted: false } as const),
    ...{ queries: 2, radius: 1e-3, tokens: 16 },
  }
  const once = { ...stage, rounds: 1 }
  const masked = { ...spec, spec: { ...spec.spec, space, stages: [once, { ...once, prune }] } }
  const mask = (more: object = {}): RunEntry => {
    const slopes = { first: [1, 2], second: [3, 0.5] }
    const made = { stage: 1, mask: 'd'.repeat(64), kept: [10, 5], slopes }
    const report = { kind: 'mask', ...names, round: 1, stateHash: 'b'.repeat(64), ...made, signature, ...more } as const
    return { type: 'mask', stage: 1, answer: { worker: 'w', publicKey: 'x', report } }
  }
  const second = { ...open, round: 1, stage: 1 } as RunEntry
  it.each<[string, RunEntry[], string]>([
    ['a mask between the stages', [mask(), second], 'verified'],
    ['a stage that did not wait', [second], 'wrong_public_work'],
    ['a mask that keeps more', [mask({ kept: [10, 6] }), second], 'wrong_public_work'],
    ['a mask of more entries than a tensor has', [mask({ kept: [4, 11] }), second], 'wrong_public_work'],
    ['a mask without its slopes', [mask({ slopes: null }), second], 'wrong_public_work'],
    ['a mask with fewer slopes', [mask({ slopes: { first: [1], second: [1] } }), second], 'wrong_public_work'],
    ['a mask of another state', [mask({ stateHash: 'a'.repeat(64) }), second], 'wrong_public_work'],
    ['a mask of another stage', [mask({ stage: 2 }), second], 'wrong_public_work'],
  ])('%s', (_, entries, code) => {
    expect(codeOf(masked, ...rest, ...entries)).toBe(code)
  })
})
