import { describe, expect, it } from 'vitest'
import type { RoundLease, RunSpec } from '../shared/api/index.ts'
import { WorkerError } from './error.ts'
import { type Charge, checkCharge, checkSpec, type OwnAccount, type Policy } from './policy.ts'

const event = { mechanism: 'gaussian', noiseMultiplier: 1.5, samplingRate: 0.1, neighbours: 'add-remove' } as const
const spec = {
  noise: 'gaussian',
  stages: [{ rounds: 50, noiseMultiplier: 1.5, samplingRate: 0.1 }],
  spareCharges: 5,
  datasets: [
    { id: 'north', units: 100, unit: 'record' },
    { id: 'east', units: 100, unit: 'record' },
  ],
  budget: { epsilon: 4, delta: 1e-5 },
} as unknown as RunSpec
const policy: Policy = { maxDelta: 1e-5, unit: 'record' }
const lease = { id: 'l-1', run: 'run-1', dataset: 'north', round: 1 } as RoundLease
const charge = (id: string, more: object = {}) =>
  ({ type: 'charge', lease: id, dataset: 'north', round: 1, event, ...more }) as Charge
const own = (more: Partial<OwnAccount> = {}): OwnAccount => ({
  dataset: 'north',
  charges: [charge('l-1')],
  released: [],
  ...more,
})
const codeOf = (action: () => void) => {
  try {
    action()
  } catch (error) {
    return error instanceof WorkerError ? error.code : String(error)
  }
  return 'agreed'
}

describe('checkSpec', () => {
  const check = (more: Partial<Policy> = {}, dataset = 'north', asked: object = {}) =>
    codeOf(() => checkSpec({ ...spec, ...asked }, 'h', dataset, { ...policy, ...more }))

  it.each<[string, string, string]>([
    ['agrees to a spec within the policy', check(), 'agreed'],
    ['wants the dataset in it', check({}, 'west'), 'policy_refused'],
    ['protects what the owner protects', check({ unit: 'user' }), 'unit_mismatch'],
    ['keeps epsilon', check({ maxEpsilon: 3.9 }), 'policy_refused'],
    [
      'keeps delta, which would make epsilon small for nothing',
      check({}, 'north', { budget: { epsilon: 1, delta: 0.5 } }),
      'policy_refused',
    ],
    [
      'refuses an epsilon that is no number',
      check({ maxEpsilon: 4 }, 'north', { budget: { epsilon: Number.NaN, delta: 1e-5 } }),
      'policy_refused',
    ],
    ['keeps to the specs agreed to', check({ acceptedSpecs: new Set(['other']) }), 'policy_refused'],
    ['takes a spec agreed to', check({ acceptedSpecs: new Set(['h']) }), 'agreed'],
  ])('%s', (_, code, expected) => {
    expect(code).toBe(expected)
  })
})

describe('checkCharge', () => {
  const check = (more: Partial<OwnAccount> = {}, asked: Partial<RoundLease> = {}) =>
    codeOf(() => checkCharge({ ...lease, ...asked }, spec, own(more)))
  const leases = (count: number) => Array.from({ length: count }, (_, i) => charge(`l-${i}`))

  it.each<[string, string, string]>([
    ['agrees to a charged lease', check(), 'agreed'],
    [
      'refuses the lease of another dataset, charged there',
      check({ charges: [charge('l-1', { dataset: 'east' })] }, { dataset: 'east' }),
      'policy_refused',
    ],
    ['refuses a lease without a charge', check({ charges: [] }), 'uncharged_lease'],
    ['refuses the charge of another round', check({ charges: [charge('l-1', { round: 0 })] }), 'uncharged_lease'],
    [
      'refuses a charge of more noise than is drawn',
      check({ charges: [charge('l-1', { event: { ...event, noiseMultiplier: 9 } })] }),
      'uncharged_lease',
    ],
    [
      "refuses any charge that is not its stage's",
      check({ charges: [charge('l-1'), charge('l-0', { event: { ...event, samplingRate: 0.01 } })] }),
      'uncharged_lease',
    ],
    ['refuses a log that forgot what this site released', check({ released: ['l-0'] }), 'log_forked'],
    [
      'agrees where all that was released is charged',
      check({ released: ['l-1', 'l-0'], charges: [charge('l-0'), charge('l-1')] }),
      'agreed',
    ],
    ['agrees up to the last spare charge', check({ charges: leases(55) }), 'agreed'],
    ['refuses a charge beyond the spares', check({ charges: leases(56) }), 'policy_refused'],
    [
      'refuses a spec whose budget does not pay for what it may charge',
      codeOf(() => checkCharge(lease, { ...spec, budget: { ...spec.budget, epsilon: 0.5 } }, own())),
      'policy_refused',
    ],
  ])('%s', (_, code, expected) => {
    expect(code).toBe(expected)
  })
})
