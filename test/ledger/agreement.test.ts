import { describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { auditRun } from '../../shared/ledger/index.ts'
import { RDP_ORDERS } from '../../shared/privacy/index.ts'
import { Theatre } from '../rehearsal/theatre.ts'

/**
 * Renyi divergence of order a of one Poisson-subsampled Gaussian release, both ways, by the trapezoidal rule over the densities themselves:
 * (1 - q) N(0, s^2) + q N(1, s^2) against N(0, s^2). Nothing of the product takes part.
 */
function divergence(order: number, q: number, s: number): number {
  const step = s / 200
  const log = (x: number) => Math.log(1 - q + q * Math.exp((2 * x - 1) / (2 * s * s)))
  const against = (power: number) => {
    let sum = 0
    for (let x = -20 * s - order; x <= 20 * s + order; x += step)
      sum += Math.exp(power * log(x) - (x * x) / (2 * s * s))
    return Math.log((sum * step) / (s * Math.sqrt(2 * Math.PI))) / (order - 1)
  }
  return Math.max(against(order), against(1 - order))
}

/** The allowance that the product adds on purpose, of the size of every term: a published epsilon is never below its formula. */
const ALLOWANCE = 1e-9

/** Least epsilon over the orders: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), proposition 12. */
function epsilonOf(rounds: number, q: number, s: number, delta: number): number {
  return Math.min(
    ...RDP_ORDERS.filter((order) => order <= 64).map((order) => {
      const terms = [
        rounds * divergence(order, q, s),
        Math.log((order - 1) / order),
        -Math.log(delta) / (order - 1),
        -Math.log(order) / (order - 1),
      ]
      return terms.reduce((sum, term) => sum + term + ALLOWANCE * Math.abs(term), 0)
    }),
  )
}

/** P(standard normal <= x), by its continued fraction or its series. */
function normalBelow(x: number): number {
  if (x < -4) {
    let fraction = 0
    for (let k = 200; k >= 1; k--) fraction = k / (-x + fraction)
    return Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) / (-x + fraction)
  }
  let [sum, term] = [x, x]
  for (let n = 1; Math.abs(term) > 1e-18; n++) {
    term *= -(x * x) / (2 * n)
    sum += term / (2 * n + 1)
  }
  return 0.5 + sum / Math.sqrt(2 * Math.PI)
}

/** Exact epsilon of Gaussian releases of all units (Balle and Wang 2018, theorem 8), mu = sqrt(T) / s. */
function exactEpsilon(mu: number, delta: number): number {
  const deltaOf = (e: number) => normalBelow(mu / 2 - e / mu) - Math.exp(e) * normalBelow(-mu / 2 - e / mu)
  let [low, high] = [0, 100]
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2
    if (deltaOf(middle) > delta) low = middle
    else high = middle
  }
  return high
}

describe.each([0.1, 1])('epsilon of a run at the sampling rate %d', (samplingRate) => {
  it('is one number: in the coordinator, in the audit, and by the formulas', async () => {
    const theatre = new Theatre()
    await theatre.addDataset('north', 100)
    const stage = { rounds: 3, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate, lossShare: 0 }
    await theatre.begin({ stages: [stage], spareCharges: 0 })
    const worker = await theatre.player('w', 'north')
    while ((await theatre.run.describe())!.state === 'running') await theatre.play(worker)
    const { spent, spec } = (await theatre.run.describe())!
    const { publicKey } = await openLogKey('rehearsal', new Uint8Array(32))
    const source = { read: async (key: string) => theatre.objects.objects.get(key) ?? null }
    const question = { run: theatre.runId, name: 'rehearsal', publicKey, verify: verifyEd25519 }
    const audit = await auditRun(source, question)
    const own = audit.spent[0]!
    expect(Math.abs(own.epsilon / spent[0]!.epsilon - 1)).toBeLessThan(1e-9)
    const { noiseMultiplier } = spec.stages[0]!
    const { delta } = spec.budget
    expect(Math.abs(own.rdp / epsilonOf(3, samplingRate, noiseMultiplier, delta) - 1)).toBeLessThan(1e-9)
    expect(own.lower).toBeLessThanOrEqual(own.epsilon)
    expect(own.epsilon).toBeLessThanOrEqual(own.rdp)
    if (samplingRate < 1) return
    const exact = exactEpsilon(Math.sqrt(3) / noiseMultiplier, delta)
    expect(own.lower).toBeLessThanOrEqual(exact * (1 + 1e-9))
    expect(own.epsilon).toBeGreaterThanOrEqual(exact * (1 - 1e-9))
  })
})
