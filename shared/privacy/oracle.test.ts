/** Reference values of independent accountants; see the README beside the file for how each column was obtained. */
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { calibrateNoise } from './calibration.ts'
import { type EventCount, gaussianEvent, laplaceEvent, mechanismEvent } from './event.ts'
import { spend } from './meter.ts'
import { deltaBounds, epsilonBounds } from './pld/bounds.ts'
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
interface LaplaceRow {
  id: string
  b: number
  q: number
  T: number
  delta: number
  eps: number
  pure_eps_total: number
  rdp_eps: number | null
  method: string
}
interface CurveRow {
  id: string
  stages: { kind: 'gaussian' | 'laplace'; noise: number; q: number; T: number }[]
  eps: number
  delta: number
}
type CrosscheckRow = Pick<Row, 'id' | 'delta' | 'eps'> & Step & { prv_lower: number; prv_upper: number }
interface Oracle {
  meta: { rdp_orders: number[] }
  tables: {
    single: (Row & Step)[]
    heterogeneous: (Row & { stages: Step[] })[]
    calibration: CalibrationRow[]
    laplace: LaplaceRow[]
    replace_one: (Omit<Row, 'rdp_eps' | 'rdp_order'> & Step)[]
    curves: CurveRow[]
    crosscheck_prv_opacus: CrosscheckRow[]
  }
}

const file = new URL('../../../shared/oracle/accounting.json', import.meta.url)
const present = existsSync(file)
const suite = `reference tables${present ? '' : ' (skipped: shared/oracle/accounting.json is not beside the repository)'}`

/** Digits in the tables: 12. Our own allowance: 1e-9 of the terms. */
const TOLERANCE = 1e-7

/** The row with the greatest relative excess, for the log; and how many rows end at the first or last order. */
const summary = (rows: { id: string; excess: number; atEnd: boolean }[]) => {
  const worst = rows.reduce((a, b) => (b.excess > a.excess ? b : a))
  return `${rows.length} rows, most above: ${worst.id} by ${(worst.excess * 100).toPrecision(3)} %, best order at an end: ${rows.filter(({ atEnd }) => atEnd).length}`
}

const historyOf = (steps: Step[]): EventCount[] =>
  steps
    .filter(({ T }) => T > 0)
    .map(({ sigma, q, T }) => ({ event: gaussianEvent({ noiseMultiplier: sigma, samplingRate: q }), count: T }))

/** Twelve digits are stored; rows that were extrapolated are right to 1e-6. */
const digitsOf = (method?: string) => (method === 'pld-extrapolated' ? 1e-6 : 1e-9)
/** How far above the exact value an upper bound may lie. */
const EXCESS_MAX = 2e-3
/** The default tolerance of epsilon, and a last digit. */
const WIDTH_MAX = 1.001e-3
/** Of delta: some of these rows take a second each at the default. */
const CURVE_TOLERANCE = 4e-3

interface Interval {
  id: string
  exact: number
  upper: number
  lower: number
  digits: number
}

const expectInterval = ({ id, exact, upper, lower, digits }: Interval) => {
  expect(upper, id).toBeGreaterThanOrEqual(exact * (1 - digits))
  expect(upper, id).toBeLessThanOrEqual(exact * (1 + EXCESS_MAX))
  expect(lower, id).toBeLessThanOrEqual(exact * (1 + digits))
}

/** Rows by the width of their interval; the most excessive of all, for the log. */
const checked = (table: string, rows: Interval[], width = WIDTH_MAX) => {
  for (const row of rows) expectInterval(row)
  const excess = ({ upper, exact }: Interval) => upper / exact - 1
  const worst = rows.reduce((a, b) => (excess(b) > excess(a) ? b : a))
  const wide = rows.filter(({ upper, lower }) => upper - lower > width * upper)
  console.log(
    `${table}, loss distributions: ${rows.length} rows, most above: ${worst.id} by ${(excess(worst) * 100).toPrecision(3)} %, wider than asked: ${wide.length}`,
  )
  return wide
}

describe.skipIf(!present)(suite, () => {
  const oracle: Oracle | null = present ? JSON.parse(readFileSync(file, 'utf8')) : null
  const empty: Oracle['tables'] = {
    single: [],
    heterogeneous: [],
    calibration: [],
    laplace: [],
    replace_one: [],
    curves: [],
    crosscheck_prv_opacus: [],
  }
  const {
    single,
    heterogeneous,
    calibration,
    laplace,
    replace_one: replaceOne,
    curves,
    crosscheck_prv_opacus: crosscheck,
  } = oracle?.tables ?? empty
  const orders = oracle?.meta.rdp_orders ?? []
  const compositions = [
    ...single.map((row) => ({ ...row, history: historyOf([row]) })),
    ...heterogeneous.map((row) => ({ ...row, history: historyOf(row.stages) })),
  ]

  test('the tables are those expected', () => {
    const lengths = [single, heterogeneous, calibration, laplace, replaceOne, curves, crosscheck].map(
      (table) => table.length,
    )
    expect(lengths).toEqual([360, 39, 29, 45, 12, 100, 24])
  })

  test('epsilon at the same orders: never below the exact RDP value, and within 1e-7', () => {
    for (const { id, history, delta, rdp_eps: reference } of compositions) {
      const { epsilon } = spend(history, delta, orders)
      // 12 digits are stored, so the stored value may itself be 5e-12 too high.
      expect(epsilon, id).toBeGreaterThanOrEqual(reference * (1 - 1e-11))
      expect(epsilon, id).toBeLessThanOrEqual(reference * (1 + TOLERANCE) + 1e-9)
    }
  })

  test.each(['single', 'heterogeneous'])('%s: at least the exact epsilon, at most the reference bound', (table) => {
    const rows = compositions.filter(({ id }) => id.startsWith(table))
    const answers = rows.map(({ id, history, delta, eps, rdp_eps: reference }) => {
      const { epsilon, atEnd } = spend(history, delta)
      expect(epsilon, id).toBeGreaterThanOrEqual(eps * (1 - 1e-9))
      expect(epsilon, id).toBeLessThanOrEqual(reference * (1 + TOLERANCE) + 1e-9)
      return { id, excess: epsilon / reference - 1, atEnd: atEnd && epsilon > 1e-4 && epsilon < 100 }
    })
    expect(answers.filter(({ atEnd }) => atEnd)).toEqual([])
    console.log(`${table}, against the reference RDP: ${summary(answers)}`)
  })

  test('laplace: at least the exact epsilon, at most the reference bound where there is one', () => {
    const answers = laplace.map(({ id, b, q, T, delta, eps, pure_eps_total: pure, rdp_eps: reference }) => {
      const event = laplaceEvent({ noiseMultiplier: b, samplingRate: q })
      const { epsilon, atEnd } = spend([{ event, count: T }], delta)
      // Extrapolated rows are right to 1e-6.
      expect(epsilon, id).toBeGreaterThanOrEqual(eps * (1 - 1e-6))
      if (reference !== null) expect(epsilon, id).toBeLessThanOrEqual(reference * (1 + 1e-6))
      // A bounded loss may be best served by order infinity: the last order A is then log(1/delta)/A above it.
      if (atEnd) expect(epsilon, id).toBeLessThanOrEqual(pure + 1e-4)
      return { id, excess: epsilon / (reference ?? eps) - 1, atEnd }
    })
    console.log(`laplace, against the reference RDP or exact: ${summary(answers)}`)
  })

  test('replace_one: at least the exact epsilon, at most half above', () => {
    const answers = replaceOne.map(({ id, sigma, q, T, delta, eps }) => {
      const event = gaussianEvent({ noiseMultiplier: sigma, samplingRate: q, neighbours: 'replace-one' })
      const { epsilon, atEnd } = spend([{ event, count: T }], delta)
      expect(epsilon, id).toBeGreaterThanOrEqual(eps * (1 - 1e-9))
      // RDP itself, in 40-digit arithmetic too, is 41 % above on the worst row.
      expect(epsilon, id).toBeLessThanOrEqual(eps * 1.5)
      return { id, excess: epsilon / eps - 1, atEnd }
    })
    expect(answers.filter(({ atEnd }) => atEnd)).toEqual([])
    console.log(`replace_one, against the exact epsilon: ${summary(answers)}`)
  })

  test('every order of the reference is one of ours', () => {
    for (const order of orders) expect(RDP_ORDERS).toContain(order)
  })

  test('noise of the exact target, not below and hardly above', () => {
    for (const { id, target_eps: targetEpsilon, delta, q, T, sigma } of calibration) {
      const { noiseMultiplier } = calibrateNoise({ targetEpsilon, delta, stages: [{ samplingRate: q, rounds: T }] })
      expect(noiseMultiplier, id).toBeGreaterThanOrEqual(sigma * (1 - 1e-9))
      expect(noiseMultiplier, id).toBeLessThanOrEqual(sigma * 1.002)
    }
  })

  const intervalOf = (
    { id, eps, delta, method }: { id: string; eps: number; delta: number; method?: string },
    history: EventCount[],
  ): Interval => {
    const { epsilon, lower } = epsilonBounds(history, delta)
    return { id, exact: eps, upper: epsilon, lower, digits: digitsOf(method) }
  }

  test.each(['single', 'heterogeneous'])('%s: the exact epsilon lies in a narrow interval', (table) => {
    const rows = compositions.filter(({ id }) => id.startsWith(table)).map((row) => intervalOf(row, row.history))
    // Above losses of 600 one release is bounded by the mass of its losses alone.
    for (const { id, exact } of checked(table, rows)) expect(exact, id).toBeGreaterThan(600)
  })

  test('laplace: the exact epsilon lies in a narrow interval', () => {
    const rows = laplace.map((row) => {
      const event = laplaceEvent({ noiseMultiplier: row.b, samplingRate: row.q })
      return intervalOf(row, [{ event, count: row.T }])
    })
    const wide = checked('laplace', rows)
    // Little noise and few units: three rows at 0.44 % and less.
    expect(wide.length).toBeLessThanOrEqual(3)
    for (const { id, upper, lower } of wide) expect(1 - lower / upper, id).toBeLessThan(5e-3)
  })

  test('replace_one: the exact epsilon lies in a narrow interval', () => {
    const rows = replaceOne.map((row) => {
      const event = gaussianEvent({ noiseMultiplier: row.sigma, samplingRate: row.q, neighbours: 'replace-one' })
      return intervalOf(row, [{ event, count: row.T }])
    })
    expect(checked('replace_one', rows)).toEqual([])
  })

  test('crosscheck_prv_opacus: within the interval of another accountant, and the exact epsilon within ours', () => {
    const rows = crosscheck.map((row) => ({ row, interval: intervalOf(row, historyOf([row])) }))
    for (const { row, interval } of rows) {
      expect(interval.upper, row.id).toBeLessThanOrEqual(row.prv_upper)
      expect(interval.lower, row.id).toBeGreaterThanOrEqual(row.prv_lower)
    }
    expect(
      checked(
        'crosscheck_prv_opacus',
        rows.map(({ interval }) => interval),
      ),
    ).toEqual([])
  })

  const curveHistory = ({ stages }: CurveRow): EventCount[] =>
    stages.map(({ kind, noise, q, T }) => ({
      event: mechanismEvent({ mechanism: kind, noiseMultiplier: noise, samplingRate: q }),
      count: T,
    }))

  test('curves: the exact delta at every epsilon lies in a narrow interval', () => {
    const rows = curves.map((row) => {
      const { delta: upper, lower } = deltaBounds(curveHistory(row), row.eps, { tolerance: CURVE_TOLERANCE })
      return { id: row.id, exact: row.delta, upper, lower, digits: 1e-9 }
    })
    expect(checked('curves', rows, CURVE_TOLERANCE * 1.001)).toEqual([])
  }, 240_000)

  test('curves: the exact epsilon at every delta lies in a narrow interval', () => {
    const rows = curves.filter(({ delta, eps }) => delta > 0 && delta < 1 && eps > 0)
    const answers = rows.map((row) => intervalOf(row, curveHistory(row)))
    expect(checked('curves, as epsilon', answers)).toEqual([])
  }, 240_000)
})
