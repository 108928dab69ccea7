import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MechanismEvent, mechanismEvent } from '../event.ts'
import { type EnclosedLoss, enclose } from './discretise.ts'
import { type DominatingPair, dominatingPairs } from './pair.ts'
import { singleDelta } from './single.ts'

const logUniform = (min: number, max: number) =>
  fc.double({ min: Math.log(min), max: Math.log(max), noNaN: true }).map(Math.exp)

const event = fc
  .record({
    mechanism: fc.constantFrom('gaussian' as const, 'laplace' as const),
    noiseMultiplier: logUniform(0.15, 30),
    samplingRate: fc.oneof(
      fc.constant(1),
      logUniform(1e-5, 1),
      logUniform(1e-9, 0.5).map((x) => 1 - x),
    ),
    neighbours: fc.constantFrom('add-remove' as const, 'zero-out' as const, 'replace-one' as const),
  })
  .map(mechanismEvent)

const cuts = fc.record({ top: logUniform(1e-25, 1e-3), bottom: logUniform(1e-20, 1e-3) })

const massesAt = (pair: DominatingPair, loss: number) => {
  const into = new Float64Array(5)
  pair.masses(loss, into)
  return into
}

/** About how large the losses of a release are: a step of this is coarse, one of a hundredth fine. */
const scaleOf = (pair: DominatingPair) => {
  if (pair.atoms.length > 0) return pair.atoms.at(-1)!.loss - pair.atoms[0]!.loss
  let scale = 1e-9
  while (massesAt(pair, scale)[0]! > 1e-9 || massesAt(pair, -scale)[2]! > 1e-9) scale *= 2
  return scale
}

/** delta of one release at any real epsilon from whichever side is the smaller, and the magnitude of its terms. */
const exactDelta = (pair: DominatingPair, epsilon: number) => {
  const [p, q, pLow, qLow] = massesAt(pair, epsilon)
  const low = epsilon < 0
  const own = low ? Math.exp(epsilon) * qLow! - pLow! - Math.expm1(epsilon) : p! - Math.exp(epsilon) * q!
  const atoms = pair.atoms.filter(({ loss }) => (low ? loss <= epsilon : loss > epsilon))
  const delta = atoms.reduce((sum, atom) => sum - (low ? -1 : 1) * atom.p * Math.expm1(epsilon - atom.loss), own)
  const size = low ? 1 : p! + Math.exp(epsilon) * q! + atoms.reduce((sum, atom) => sum + atom.p, 0)
  return { delta, size }
}

/** delta of a lattice distribution, summed with compensation. */
const deltaOf = ({ lattice, first }: EnclosedLoss, masses: Float64Array, epsilon: number) => {
  let [total, lost] = [0, 0]
  for (let j = masses.length - 1; j >= 0; j--) {
    const loss = lattice.offset + (first + j) * lattice.step
    if (loss <= epsilon) break
    const next = masses[j]! * -Math.expm1(epsilon - loss) - lost
    const sum = total + next
    lost = sum - total - next
    total = sum
  }
  return total
}

const total = ({ lattice, first }: EnclosedLoss, masses: Float64Array) => ({
  p: masses.reduce((sum, mass) => sum + mass, 0),
  q: masses.reduce(
    (sum, mass, j) => sum + (mass === 0 ? 0 : mass * Math.exp(-lattice.offset - (first + j) * lattice.step)),
    0,
  ),
})

/** The least double with all its digits. */
const MIN_NORMAL = 2 ** -1022

const expectEnclosed = (pair: DominatingPair, enclosed: EnclosedLoss, epsilon: number) => {
  // Losses on the lattice are rounded, which the accountant allows for later; the closed form is known to `slack`, its
  // masses below the normal doubles to no digit at all.
  const shift = 1e-14 * (1 + Math.abs(epsilon))
  const [less, more] = [exactDelta(pair, epsilon + shift), exactDelta(pair, epsilon - shift)]
  const slack = more.size * (1e-13 + 8 * massesAt(pair, epsilon)[4]!) + MIN_NORMAL * (1 + Math.exp(epsilon))
  expect(deltaOf(enclosed, enclosed.upper, epsilon) + enclosed.infinite).toBeGreaterThanOrEqual(less.delta - slack)
  expect(deltaOf(enclosed, enclosed.lower, epsilon)).toBeLessThanOrEqual(more.delta + slack)
}

/** An event with a direction of it, a step from fine to far too coarse, aligned with the atoms or not, and places to look. */
const lattice = fc.record({
  event,
  direction: fc.integer({ min: 0, max: 1 }),
  fineness: logUniform(3e-3, 3),
  aligned: fc.boolean(),
  cuts,
  places: fc.array(fc.double({ min: -0.02, max: 1.02, noNaN: true }), { minLength: 24, maxLength: 24 }),
})

const enclosureOf = (parts: {
  event: MechanismEvent
  direction: number
  fineness: number
  aligned: boolean
  cuts: { top: number; bottom: number }
}) => {
  const pair = dominatingPairs(parts.event).at(-1 - parts.direction) ?? dominatingPairs(parts.event)[0]!
  const scale = scaleOf(pair)
  const wanted = scale * parts.fineness
  const step = parts.aligned && pair.atoms.length > 0 ? scale / Math.ceil(scale / wanted) : wanted
  return { pair, step, enclosed: enclose(pair, step, parts.cuts) }
}

const gaussian = (noiseMultiplier: number, samplingRate: number) =>
  dominatingPairs(mechanismEvent({ noiseMultiplier, samplingRate }))

describe('lattice distributions around the loss of one release', () => {
  test('property: delta lies between them at every epsilon, on lattice points, between and at the atoms', () => {
    fc.assert(
      fc.property(lattice, ({ places, ...parts }) => {
        const { pair, enclosed } = enclosureOf(parts)
        fc.pre(enclosed !== null)
        const { lattice: grid, first, upper } = enclosed!
        const real = places.map((place) => grid.offset + (first + place * upper.length) * grid.step)
        const points = places.map((place) => grid.offset + (first + Math.round(place * upper.length)) * grid.step)
        const beside = pair.atoms.flatMap(({ loss }) => [loss, loss * (1 - 1e-9), loss * (1 + 1e-9)])
        const near = places.slice(0, 8).map((place) => (pair.crowd?.loss ?? 0) + (place - 0.5) * 4 * grid.step)
        for (const epsilon of [...real, ...points, ...beside, ...near]) {
          if (Math.abs(epsilon) < 500) expectEnclosed(pair, enclosed!, epsilon)
        }
      }),
      { numRuns: 600 },
    )
  })

  test('delta lies between them where it is below the normal doubles', () => {
    const { pair, enclosed } = enclosureOf({
      event: mechanismEvent({ noiseMultiplier: 1, samplingRate: 0.9999998452652565, neighbours: 'replace-one' }),
      direction: 0,
      fineness: 1,
      aligned: false,
      cuts: { top: 1.591885495396949e-14, bottom: 0.0010000000000000002 },
    })
    const { lattice: grid, first, upper } = enclosed!
    for (let place = 0.9; place < 1.1; place += 1e-4) {
      expectEnclosed(pair, enclosed!, grid.offset + (first + place * upper.length) * grid.step)
    }
  })

  test('property: masses are none below 0 and sum to 1 at most, those of Q too', () => {
    fc.assert(
      fc.property(lattice, (parts) => {
        const { enclosed } = enclosureOf(parts)
        fc.pre(enclosed !== null)
        const { upper, lower, infinite } = enclosed!
        expect(upper.every((mass) => mass >= 0)).toBe(true)
        expect(lower.every((mass) => mass >= 0)).toBe(true)
        const [above, below] = [total(enclosed!, upper), total(enclosed!, lower)]
        expect(Math.abs(above.p + infinite - 1)).toBeLessThan(1e-8 * infinite + 1e-12)
        expect(above.q).toBeLessThanOrEqual(1 + 1e-10)
        expect(below.p).toBeLessThanOrEqual(1 + 1e-12)
      }),
      { numRuns: 300 },
    )
  })

  test('property: the upper one is exact on lattice points, but for what was cut off', () => {
    fc.assert(
      fc.property(lattice, ({ places, ...parts }) => {
        const { pair, enclosed } = enclosureOf({ ...parts, aligned: true, cuts: { top: 1e-20, bottom: 1e-20 } })
        fc.pre(enclosed !== null)
        const { lattice: grid, first, upper, infinite } = enclosed!
        for (const place of places) {
          const epsilon = grid.offset + (first + Math.round(place * upper.length)) * grid.step
          if (!(epsilon >= 0 && epsilon < 500)) continue
          const { delta } = singleDelta(pair, epsilon)
          expect(deltaOf(enclosed!, upper, epsilon) + infinite - delta).toBeLessThan(1e-8 * delta + 1e-11)
        }
      }),
      { numRuns: 200 },
    )
  })

  test.each([
    ['unsampled', 1, 1],
    ['sampled', 0.6, 0.3],
  ])('the interval shrinks with the square of the step, %s', (_, noise, rate) => {
    const [pair] = gaussian(noise, rate)
    const width = (step: number) => {
      const enclosed = enclose(pair!, step, { top: 1e-15, bottom: 1e-15 })!
      const at = Array.from({ length: 40 }, (__, i) => 0.05 + i * 0.0371)
      return Math.max(
        ...at.map((eps) => deltaOf(enclosed, enclosed.upper, eps) - deltaOf(enclosed, enclosed.lower, eps)),
      )
    }
    const widths = [0.08, 0.04, 0.02, 0.01].map(width)
    for (const [i, finer] of widths.slice(1).entries()) {
      expect(widths[i]! / finer).toBeGreaterThan(3)
      expect(widths[i]! / finer).toBeLessThan(5.5)
    }
  })

  test('a lower bound that falls to 0 above a heavy cell still lies below delta', () => {
    const event = mechanismEvent({
      mechanism: 'laplace',
      noiseMultiplier: 0.28040946,
      samplingRate: 0.00055379,
      neighbours: 'replace-one',
    })
    const [pair] = dominatingPairs(event)
    const enclosed = enclose(pair!, 0.003, { top: 1e-10, bottom: 1e-12 })!
    for (let epsilon = -0.03; epsilon < 0.03; epsilon += 0.0007) expectEnclosed(pair!, enclosed, epsilon)
    const [remove] = gaussian(0.7061615530310283, 0.0074283815634602545)
    const coarse = enclose(remove!, 0.17594723311390476, { top: 2.6e-7, bottom: 4.3e-12 })!
    for (let epsilon = -0.3; epsilon < 0.5; epsilon += 0.013) expectEnclosed(remove!, coarse, epsilon)
  })

  test('few units sampled: the lower bound keeps the crowd of losses near log(1-q)', () => {
    for (const pair of gaussian(1, 1e-4)) {
      const enclosed = enclose(pair, 1e-3, { top: 1e-15, bottom: 1e-15 })!
      expect(Math.max(...enclosed.lower)).toBeGreaterThan(0.9)
      expect(Math.abs(enclosed.lattice.offset)).toBeLessThan(1e-3)
    }
  })

  test('few units sampled and a step that holds every loss: the crowd is all there is, and stays', () => {
    for (const pair of gaussian(28.47, 1.537e-4)) {
      const enclosed = enclose(pair, 0.02, { top: 1e-12, bottom: 1e-12 })!
      expect(total(enclosed, enclosed.lower).p).toBeGreaterThan(0.99)
    }
  })

  test('atoms on the lattice stay what they are, and others go up in the upper bound and down in the lower', () => {
    const [pair] = dominatingPairs(mechanismEvent({ mechanism: 'laplace', noiseMultiplier: 1, samplingRate: 0.5 }))
    const [low, high] = [pair!.atoms[0]!, pair!.atoms[1]!]
    const span = high.loss - low.loss
    const on = enclose(pair!, span / 8, { top: 1e-15, bottom: 1e-15 })!
    const place = Math.round((low.loss - on.lattice.offset) / on.lattice.step) - on.first
    expect(on.lower[place + 8]!).toBeGreaterThanOrEqual(high.p)
    expect(deltaOf(on, on.upper, high.loss * (1 + 1e-12))).toBe(0)
    const off = enclose(pair!, span / 7.5, { top: 1e-15, bottom: 1e-15 })!
    expect(deltaOf(off, off.upper, high.loss)).toBeGreaterThan(0)
    expect(deltaOf(off, off.lower, low.loss + span * (7 / 7.5))).toBe(0)
  })

  test('losses above 600, where e^-loss leaves the doubles: bounds still, in the right order', () => {
    const [pair] = gaussian(0.02, 0.5)
    const enclosed = enclose(pair!, 5, { top: 1e-12, bottom: 1e-12 })!
    for (const epsilon of [100, 590, 601, 700, 1200, 1500]) {
      const upper = deltaOf(enclosed, enclosed.upper, epsilon) + enclosed.infinite
      const lower = deltaOf(enclosed, enclosed.lower, epsilon)
      expect(lower).toBeLessThanOrEqual(upper)
      expect(upper).toBeGreaterThanOrEqual(massesAt(pair!, epsilon + 40)[0]! * (1 - 1e-12))
      expect(lower).toBeLessThanOrEqual(massesAt(pair!, epsilon)[0]! * (1 + 1e-12))
    }
  })

  test('a lattice that would be too long is refused before any work', () => {
    expect(enclose(gaussian(1, 0.5)[0]!, 1e-12, { top: 1e-12, bottom: 1e-12 })).toBeNull()
  })
})
