/** Reference values of independent accountants; see the README beside the file for how each column was obtained. */
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { calibrateNoise } from './calibration.ts'
import { type EventCount, gaussianEvent } from './event.ts'
import { spend } from './meter.ts'
import { RDP_ORDERS } from './rdp.ts'

interface Step {
  sigma: number
  q: number
  T: number
}
interface Row {
  id: string
  delta: number
  eps: number
  rdp_eps: number
  rdp_order: number
}
interface CalibrationRow {
  id: string
  delta: number
  target_eps: number
  q: number
  T: number
  sigma: number
  sigma_rdp: number
}
interface Oracle {
  meta: { rdp_orders: number[] }
  tables: { single: (Row & Step)[]; heterogeneous: (Row & { stages: Step[] })[]; calibration: CalibrationRow[] }
}

const file = new URL('../../../shared/oracle/accounting.json', import.meta.url)
const present = existsSync(file)
const suite = `reference tables${present ? '' : ' (skipped: shared/oracle/accounting.json is not beside the repository)'}`

/** Digits in the tables: 12. Our own allowance: 1e-9 of the terms. */
const TOLERANCE = 1e-7

const historyOf = (steps: Step[]): EventCount[] =>
  steps
    .filter(({ T }) => T > 0)
    .map(({ sigma, q, T }) => ({ event: gaussianEvent({ noiseMultiplier: sigma, samplingRate: q }), count: T }))

describe.skipIf(!present)(suite, () => {
  const oracle: Oracle | null = present ? JSON.parse(readFileSync(file, 'utf8')) : null
  const { single, heterogeneous, calibration } = oracle?.tables ?? { single: [], heterogeneous: [], calibration: [] }
  const orders = oracle?.meta.rdp_orders ?? []
  const compositions = [
    ...single.map((row) => ({ ...row, history: historyOf([row]) })),
    ...heterogeneous.map((row) => ({ ...row, history: historyOf(row.stages) })),
  ]

  test('the tables are those expected', () => {
    expect([single.length, heterogeneous.length, calibration.length]).toEqual([360, 39, 29])
  })

  test('epsilon at the same orders: never below the exact RDP value, and within 1e-7', () => {
    for (const { id, history, delta, rdp_eps: reference } of compositions) {
      const { epsilon } = spend(history, delta, orders)
      // 12 digits are stored, so the stored value may itself be 5e-12 too high.
      expect(epsilon, id).toBeGreaterThanOrEqual(reference * (1 - 1e-11))
      expect(epsilon, id).toBeLessThanOrEqual(reference * (1 + TOLERANCE) + 1e-9)
    }
  })

  test('epsilon on our own orders: at least the exact epsilon, at most the reference bound', () => {
    for (const { id, history, delta, eps, rdp_eps: reference } of compositions) {
      const { epsilon } = spend(history, delta)
      expect(epsilon, id).toBeGreaterThanOrEqual(eps * (1 - 1e-9))
      expect(epsilon, id).toBeLessThanOrEqual(reference * (1 + TOLERANCE) + 1e-9)
    }
  })

  test('every order of the reference is one of ours', () => {
    for (const order of orders) expect(RDP_ORDERS).toContain(order)
  })

  test('noise at the same orders within 2e-6; on our orders never more, and never less than the exact answer', () => {
    for (const { id, target_eps: targetEpsilon, delta, q, T, sigma, sigma_rdp: reference } of calibration) {
      const request = { targetEpsilon, delta, stages: [{ samplingRate: q, rounds: T }] }
      const same = calibrateNoise({ ...request, orders }).noiseMultiplier
      const own = calibrateNoise(request).noiseMultiplier
      expect(Math.abs(same / reference - 1), id).toBeLessThan(2e-6)
      expect(own, id).toBeLessThanOrEqual(reference * (1 + 2e-6))
      expect(own, id).toBeGreaterThanOrEqual(sigma)
    }
  })
})
