import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NOISE_EXACT_MIN, ORDER_EXACT_MAX, renyiDivergences } from './divergence.ts'
import type { Mechanism, MechanismEvent, Neighbours } from './event.ts'

const KINDS = [
  { mechanism: 'gaussian', neighbours: 'add-remove' },
  { mechanism: 'gaussian', neighbours: 'replace-one' },
  { mechanism: 'laplace', neighbours: 'add-remove' },
  { mechanism: 'laplace', neighbours: 'replace-one' },
] as const
type Kind = { readonly mechanism: Mechanism; readonly neighbours: Neighbours }

const at = (kind: Kind, noiseMultiplier: number, samplingRate: number, order: number) =>
  renyiDivergences({ ...kind, noiseMultiplier, samplingRate }, [order])[0]!

const relativeError = (value: number, reference: number) => Math.abs(value / reference - 1)

/**
 * [mechanism, neighbours, noise, rate, order, divergence] in 45- to 60-digit arithmetic (mpmath), doubles taken
 * exactly: E_Q[f(P/Q)] by trapezoid sums for Gaussians and Gauss-Legendre panels for Laplace.
 */
const REFERENCE = [
  ['gaussian', 'add-remove', 0.5, 0.01, 1.01, 0.00136876420213349],
  ['gaussian', 'add-remove', 0.5, 0.01, 3.7, 1.111161717226892],
  ['gaussian', 'add-remove', 0.5, 0.2, 10.9, 20.02799260146145],
  ['gaussian', 'add-remove', 20, 0.001, 1.1, 1.376717080501952e-9],
  ['gaussian', 'add-remove', 20, 0.001, 2.5, 3.128913418702554e-9],
  ['gaussian', 'add-remove', 1000, 1e-6, 3.3, 1.65000082500242e-18],
  ['gaussian', 'add-remove', 1, 0.01, 1.5, 0.0001272537433274498],
  ['gaussian', 'add-remove', 4, 0.2, 7.7, 0.01055422090097751],
  ['gaussian', 'add-remove', 0.7, 0.999, 1.3, 1.324547336055575],
  ['gaussian', 'add-remove', 1e5, 1e-4, 1.05, 5.250000000262451e-19],
  ['gaussian', 'add-remove', 20, 0.001, 64, 8.011251480312633e-8],
  ['gaussian', 'add-remove', 0.3, 0.05, 5.5, 26.89410499898957],
  ['gaussian', 'add-remove', 1, 0.06, 2, 0.006166760965817097],
  ['gaussian', 'add-remove', 2.5, 0.06, 16, 0.005893028451151124],
  ['gaussian', 'add-remove', 0.05, 1e-3, 1.05, 65.699530292906],
  ['gaussian', 'add-remove', 1, 1e-12, 1.01, 8.677323233694963e-25],
  ['gaussian', 'add-remove', 8, 0.5, 10.9, 0.02218765702435548],
  ['gaussian', 'add-remove', 1, 0.01, 1.02, 8.552934889508885e-5],
  ['gaussian', 'replace-one', 1, 0.01, 1.5, 0.0003428216527333985],
  ['gaussian', 'replace-one', 1, 0.01, 8, 0.001984454523056463],
  ['gaussian', 'replace-one', 0.5, 0.01, 3.7, 1.1208414846705972],
  ['gaussian', 'replace-one', 0.05, 0.001, 1.05, 65.7005307932396],
  ['gaussian', 'replace-one', 0.05, 0.3, 2.5, 498.35005360339545],
  ['gaussian', 'replace-one', 20, 0.001, 2.5, 1.249998172449075e-8],
  ['gaussian', 'replace-one', 20, 0.001, 64, 3.199995428968332e-7],
  ['gaussian', 'replace-one', 100000, 0.0001, 1.05, 2.0999999999999792e-18],
  ['gaussian', 'replace-one', 4, 0.2, 7.7, 0.03832974676698455],
  ['gaussian', 'replace-one', 0.7, 0.999, 1.3, 5.16163616037145],
  ['gaussian', 'replace-one', 1, 0.06, 16, 5.060909077594532],
  ['gaussian', 'replace-one', 0.3, 0.05, 5.5, 26.945398293377117],
  ['gaussian', 'replace-one', 8, 0.5, 10.9, 0.08482598152274291],
  ['gaussian', 'replace-one', 1, 0.999999999, 15, 26.529061133466488],
  ['gaussian', 'replace-one', 1, 1e-12, 1.01, 2.3739064111528954e-24],
  ['gaussian', 'replace-one', 2.5, 0.06, 200, 13.234326944663009],
  ['gaussian', 'replace-one', 1, 0.9999999999990905, 20, 35.63780192032723],
  ['gaussian', 'replace-one', 0.2, 0.9, 3, 39.644544319507304],
  ['gaussian', 'replace-one', 1000, 1e-6, 3.3, 6.599999999994499e-18],
  ['gaussian', 'replace-one', 30, 0.5, 2048, 1.1375905703936706],
  ['gaussian', 'replace-one', 1000000, 0.3, 5, 8.99999999999811e-13],
  ['gaussian', 'replace-one', 0.1, 1e-9, 1.5, 12.833473122832755],
  ['gaussian', 'replace-one', 3, 0.99, 40, 6.358027734846313],
  ['gaussian', 'replace-one', 0.05, 0.999999999, 1.2, 260.7232658592283],
  ['laplace', 'add-remove', 1, 0.01, 1.5, 6.418710675712927e-5],
  ['laplace', 'add-remove', 1, 0.01, 8, 0.00034972691023110893],
  ['laplace', 'add-remove', 0.5, 0.01, 3.7, 0.0007478496606573975],
  ['laplace', 'add-remove', 0.05, 0.001, 1.05, 0.01573743168370368],
  ['laplace', 'add-remove', 0.05, 0.3, 2.5, 17.680042916245828],
  ['laplace', 'add-remove', 20, 0.001, 2.5, 3.0748390982995378e-9],
  ['laplace', 'add-remove', 20, 0.001, 64, 7.871976958161715e-8],
  ['laplace', 'add-remove', 100000, 0.0001, 1.05, 5.249982500131234e-19],
  ['laplace', 'add-remove', 4, 0.2, 7.7, 0.00895204153853109],
  ['laplace', 'add-remove', 0.7, 0.999, 1.3, 0.8123686359463369],
  ['laplace', 'add-remove', 1, 0.06, 16, 0.028426341989405277],
  ['laplace', 'add-remove', 0.3, 0.05, 5.5, 0.2567699019682208],
  ['laplace', 'add-remove', 8, 0.5, 10.9, 0.019441792319356256],
  ['laplace', 'add-remove', 0.1, 1e-6, 40, 3.8422058950938105e-7],
  ['laplace', 'add-remove', 1000000, 0.3, 5, 2.2499992500003262e-13],
  ['laplace', 'add-remove', 0.2, 0.0001, 300, 0.000857615337927098],
  ['laplace', 'add-remove', 1, 0.3, 2048, 0.41511140261656165],
  ['laplace', 'add-remove', 0.05, 1e-9, 1.001, 1.426076890269485e-10],
  ['laplace', 'replace-one', 1, 0.01, 1.5, 0.00018766280989638195],
  ['laplace', 'replace-one', 1, 0.01, 8, 0.0009996819944023227],
  ['laplace', 'replace-one', 0.5, 0.01, 3.7, 0.0016934032517682655],
  ['laplace', 'replace-one', 0.05, 0.001, 1.05, 0.016735823601864996],
  ['laplace', 'replace-one', 0.05, 0.3, 2.5, 18.03671785930121],
  ['laplace', 'replace-one', 20, 0.001, 2.5, 1.2096085561264163e-8],
  ['laplace', 'replace-one', 20, 0.001, 64, 3.0965780618001606e-7],
  ['laplace', 'replace-one', 100000, 0.0001, 1.05, 2.099986000087491e-18],
  ['laplace', 'replace-one', 4, 0.2, 7.7, 0.030836892616865137],
  ['laplace', 'replace-one', 0.7, 0.999, 1.3, 2.1681719965217816],
  ['laplace', 'replace-one', 1, 0.06, 16, 0.060296471983832076],
  ['laplace', 'replace-one', 0.3, 0.05, 5.5, 0.30236030158744137],
  ['laplace', 'replace-one', 8, 0.5, 10.9, 0.06429960536353899],
  ['laplace', 'replace-one', 0.1, 1e-6, 40, 6.131169504512675e-7],
  ['laplace', 'replace-one', 1000000, 0.3, 5, 8.999993999992094e-13],
  ['laplace', 'replace-one', 0.2, 0.0001, 300, 0.0009258091588478208],
  ['laplace', 'replace-one', 1, 0.3, 2048, 0.6253833590389303],
  ['laplace', 'replace-one', 0.05, 1e-9, 1.001, 2.6925886776598937e-10],
  ['gaussian', 'add-remove', 0.05, 0.001, 1.001, 0.2122152853222478],
  ['gaussian', 'add-remove', 1, 0.01, 1.001, 8.38980249926792e-5],
  ['gaussian', 'add-remove', 40, 0.01, 4096, 0.00013139905241534315],
  ['gaussian', 'add-remove', 40, 0.01, 100.5, 3.1435238035382667e-6],
  ['gaussian', 'add-remove', 3, 0.3, 300.5, 15.486451697533122],
  ['gaussian', 'add-remove', 0.05, 0.5, 10.9, 2179.2368379527165],
  ['gaussian', 'add-remove', 0.5, 1e-12, 7.5, 2.0099306374211795e-22],
  ['gaussian', 'add-remove', 1000000, 0.3, 5, 2.250000000002441e-13],
  ['gaussian', 'add-remove', 100, 0.02, 4096, 8.258861353340154e-5],
  ['gaussian', 'replace-one', 0.0919526219810175, 8.212868770488878e-7, 19.647744853771652, 1147.0979981981673],
  ['laplace', 'add-remove', 0.091636562418496, 0.9999999840727553, 1.0022780714271233, 9.916096775486281],
  ['gaussian', 'replace-one', 28.64634922860661, 3.897709708896859e-6, 1.0097987255850247, 3.7389128029375235e-14],
  ['laplace', 'add-remove', 23.659293274587434, 0.15245002697800342, 138.34027183657804, 0.0025514596983913637],
  ['gaussian', 'replace-one', 9.596915939189214, 0.9999999999946191, 3.785281648318024, 0.08219867430947975],
  ['laplace', 'replace-one', 0.5312674528984931, 0.12523277246770526, 3.218102409921703, 0.17212871312631037],
  ['gaussian', 'replace-one', 0.23314240625237997, 5.752319622941744e-6, 1.5494879056423128, 3.22232915570564e-5],
  ['laplace', 'add-remove', 1.0690601881764596, 0.9999999995884806, 1.0964846785730173, 0.35587682508279506],
  ['gaussian', 'replace-one', 0.0906645265239099, 0.10478919391977835, 47.65083473596123, 2896.255926005635],
  ['laplace', 'replace-one', 0.22277891708802655, 1.5611536757036245e-8, 5.543103194532093, 8.013663039110724e-14],
  ['gaussian', 'add-remove', 0.30823993942960387, 0.8677716561192129, 1.1436503161406995, 5.256528407564049],
  ['laplace', 'replace-one', 0.10123455939242926, 0.9999978405806773, 1.0195893250239876, 18.74334183011386],
  ['laplace', 'add-remove', 26.037808147609372, 1.1502207277287857e-9, 1.0116717681642367, 9.748271724226175e-22],
  ['gaussian', 'replace-one', 0.708345474011449, 0.999999999792836, 1.0014370328180877, 3.991750562626748],
  ['gaussian', 'add-remove', 0.9785579376470933, 3.0639199579649366e-5, 1.0049118154119272, 8.684929770239178e-10],
  ['laplace', 'replace-one', 0.6964278441655294, 0.1403651046229291, 1.3267657705773381, 0.05563860908865332],
  ['laplace', 'add-remove', 10.203663098789113, 0.011151081565990718, 2.681835175054043, 1.5529309447601687e-6],
  ['gaussian', 'replace-one', 7.868279219750866, 0.999999999990888, 3.47900505743595, 0.11238944569720312],
  ['laplace', 'add-remove', 16.144490523541876, 0.40558748497526376, 68.29580116342657, 0.015497238633383452],
  ['laplace', 'replace-one', 0.06851318815167111, 5.460100856651809e-6, 1.0364237003417864, 1.1106823627733444e-5],
  ['laplace', 'add-remove', 0.127310951289831, 0.03805372741166355, 55.46363118060539, 4.523388276699628],
  ['gaussian', 'replace-one', 0.3190855291006017, 6.933059015436989e-5, 1.9718802151710508, 8.502528296092617e-5],
  ['laplace', 'add-remove', 2.6824452474287206, 0.0052747698099868045, 20.857523615861098, 3.67204611993213e-5],
  ['laplace', 'replace-one', 3.5570421473518867, 0.9999997100429444, 1.4953495619514905, 0.19196930869787027],
  ['laplace', 'add-remove', 3.080563441658168, 1.6688896444304127e-5, 1.068593809901103, 1.4357636101234162e-11],
] as const

interface Pair {
  readonly p: (x: number) => number
  readonly q: (x: number) => number
}

/** The dominating pair, written down plainly. */
const pairOf = ({ mechanism, neighbours, noiseMultiplier: noise, samplingRate: rate }: MechanismEvent): Pair => {
  const density = (x: number) =>
    mechanism === 'gaussian'
      ? Math.exp(-((x / noise) ** 2) / 2) / noise / Math.sqrt(2 * Math.PI)
      : Math.exp(-Math.abs(x) / noise) / 2 / noise
  const shifted = (by: number) => (x: number) => (1 - rate) * density(x) + rate * density(x - by)
  return { p: shifted(1), q: neighbours === 'replace-one' ? shifted(-1) : density }
}

/** Half the width of a panel; the kinks of Laplace densities fall on panel ends. */
const HALF_PANEL = 1 / 400

/** D_A(P||Q) by Simpson's rule over all x that count, no trick at all. */
const plainDivergence = ({ p, q }: Pair, reach: number, order: number) => {
  let sum = 0
  for (let i = -2 * Math.ceil(reach / 2 / HALF_PANEL); i * HALF_PANEL < reach; i++) {
    const x = i * HALF_PANEL
    const weight = (i % 2 === 0 ? 2 : 4) / 3
    if (p(x) > 0 && q(x) > 0) sum += weight * Math.exp(order * Math.log(p(x)) + (1 - order) * Math.log(q(x)))
  }
  return Math.log(sum * HALF_PANEL) / (order - 1)
}

/** Gaussian add-remove at an integer order by the binomial sum (arXiv 1908.10530, equation 5), in plain doubles. */
const binomialDivergence = (noise: number, rate: number, order: number) => {
  let choose = 1
  let moment = 0
  for (let i = 1; i <= order; i++) {
    choose *= (order - i + 1) / i
    moment += choose * (1 - rate) ** (order - i) * rate ** i * Math.expm1((i * i - i) / 2 / noise ** 2)
  }
  return Math.log1p(moment) / (order - 1)
}

const kinds = fc.constantFrom(...KINDS)
const noises = fc.double({ min: 0.06, max: 1e4, noNaN: true })
const rates = fc.double({ min: 1e-9, max: 0.9999, noNaN: true })
const reals = fc.double({ min: 1.001, max: 64, noNaN: true })

describe('renyiDivergences', () => {
  test.each(REFERENCE)(
    '%s, %s, noise %d, rate %d, order %d: within 1e-12 of high-precision arithmetic',
    (mechanism, neighbours, noise, rate, order, value) => {
      expect(relativeError(at({ mechanism, neighbours }, noise, rate, order), value)).toBeLessThan(1e-12)
    },
  )

  test('no sampling: A/(2 s^2) at sensitivity 1, four times that at 2; rate 0: nothing', () => {
    expect(at(KINDS[0], 2, 1, 5)).toBe(5 / 8)
    expect(at(KINDS[0], 0.01, 1, 1.01)).toBeCloseTo(5050, 9)
    expect(at(KINDS[1], 2, 1, 5)).toBe(5 / 2)
    for (const kind of KINDS) expect(at(kind, 2, 0, 5)).toBe(0)
  })

  // log((A e^((A-1) y) + (A-1) e^(-A y)) / (2A-1)) / (A-1) with y the shift over the scale, in 40 digits (mpmath).
  test.each([
    [1, 2, 0.6191236299985929],
    [0.05, 1.5, 19.424635855096437],
    [1e4, 2, 9.999666641669167e-9],
    [0.01, 4096, 99.99983076310066],
    [3, 1.001, 0.04991371493229535],
  ])('unsampled Laplace, scale %d, order %d', (scale, order, value) => {
    expect(relativeError(at(KINDS[2], scale, 1, order), value)).toBeLessThan(1e-12)
    expect(relativeError(at(KINDS[3], 2 * scale, 1, order), value)).toBeLessThan(1e-12)
  })

  test('zero-out has the divergence of add-remove', () => {
    for (const mechanism of ['gaussian', 'laplace'] as const) {
      const both = (['zero-out', 'add-remove'] as const).map((neighbours) => at({ mechanism, neighbours }, 0.8, 0.1, 3))
      expect(both[0]).toBe(both[1])
    }
  })

  describe('a plain integral of the pair agrees to 1e-6, and the other direction is never larger', () => {
    const cases = KINDS.flatMap((kind) =>
      [0.6, 1, 2].flatMap((noise) => [0.05, 0.6].map((rate) => ({ kind, noise, rate }))),
    )
    test.each(cases)('$kind.mechanism, $kind.neighbours, noise $noise, rate $rate', ({ kind, noise, rate }) => {
      const pair = pairOf({ ...kind, noiseMultiplier: noise, samplingRate: rate })
      for (const order of [1.1, 2, 4.5, 7]) {
        const reach = kind.mechanism === 'laplace' ? 1 + 40 * noise : 2 * order + 12 * noise
        const value = at(kind, noise, rate, order)
        expect(relativeError(value, plainDivergence(pair, reach, order)), `order ${order}`).toBeLessThan(1e-6)
        const turned = plainDivergence({ p: pair.q, q: pair.p }, reach, order)
        if (kind.neighbours === 'replace-one') expect(relativeError(turned, value)).toBeLessThan(1e-6)
        else expect(turned).toBeLessThan(value * (1 + 1e-6))
      }
    })
  })

  test('integer orders: the binomial sum, to 1e-10', () => {
    for (const noise of [0.5, 1, 4, 20, 1000]) {
      for (const rate of [1e-9, 1e-3, 0.06, 0.5, 0.999]) {
        for (const order of [2, 3, 5, 16]) {
          const sum = binomialDivergence(noise, rate, order)
          expect(relativeError(at(KINDS[0], noise, rate, order), sum), `${noise} ${rate} ${order}`).toBeLessThan(1e-10)
        }
      }
    }
  })

  test('property: between 0 and the unsampled divergence, growing with rate and order, falling with noise', () => {
    const more = 1 - 1e-12
    fc.assert(
      fc.property(kinds, noises, rates, reals, (kind, noise, rate, order) => {
        const value = at(kind, noise, rate, order)
        expect(value).toBeGreaterThan(0)
        expect(at(kind, noise, 1, order)).toBeGreaterThanOrEqual(value * more)
        expect(at(kind, noise, Math.min(1, rate * 1.01), order)).toBeGreaterThanOrEqual(value * more)
        expect(at(kind, noise, rate, order * 1.01)).toBeGreaterThanOrEqual(value * more)
        expect(at(kind, noise * 1.01, rate, order)).toBeLessThanOrEqual(value / more)
      }),
      { numRuns: 300 },
    )
  })

  test('property: replacing a unit costs at least what removing it does', () => {
    fc.assert(
      fc.property(noises, rates, reals, fc.constantFrom('gaussian', 'laplace'), (noise, rate, order, mechanism) => {
        const [removed, replaced] = (['add-remove', 'replace-one'] as const).map((neighbours) =>
          at({ mechanism, neighbours }, noise, rate, order),
        )
        expect(replaced).toBeGreaterThanOrEqual(removed! * (1 - 1e-12))
      }),
    )
  })

  test('property: the grid of orders does not change an order', () => {
    const grid = fc.array(reals, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(kinds, noises, rates, reals, grid, (kind, noise, rate, order, others) => {
        const together = renyiDivergences({ ...kind, noiseMultiplier: noise, samplingRate: rate }, [order, ...others])
        expect(relativeError(together[0]!, at(kind, noise, rate, order))).toBeLessThan(1e-13)
      }),
    )
  })

  test('the log-moment (A-1) D_A is convex in A, also across the change to the closed form of large orders', () => {
    for (const kind of KINDS) {
      for (const noise of [0.05, 0.3, 1]) {
        for (const rate of [1e-6, 0.06, 0.9]) {
          const orders = Array.from({ length: 1500 }, (_, i) => 1.5 + 0.1 * i * noise)
          const curve = renyiDivergences({ ...kind, noiseMultiplier: noise, samplingRate: rate }, orders)
          const moments = orders.map((order, i) => (order - 1) * curve[i]!)
          for (let i = 1; i + 1 < moments.length; i++) {
            const bend = moments[i - 1]! + moments[i + 1]! - 2 * moments[i]!
            expect(bend, JSON.stringify([kind, noise, rate, orders[i]])).toBeGreaterThan(-1e-13 * moments[i]!)
          }
        }
      }
    }
  })

  test('below NOISE_EXACT_MIN the answer is a bound, so the divergence only jumps up', () => {
    const below = NOISE_EXACT_MIN * (1 - 1e-9)
    for (const kind of KINDS) {
      for (const order of [1.001, 1.5, 2, 7.3]) {
        expect(at(kind, below, 0.001, order)).toBeGreaterThan(at(kind, NOISE_EXACT_MIN, 0.001, order))
      }
    }
  })

  test('above ORDER_EXACT_MAX too, whatever other orders are asked for', () => {
    for (const kind of KINDS) {
      const [low, last, beyond] = renyiDivergences({ ...kind, noiseMultiplier: 400, samplingRate: 0.06 }, [
        2,
        ORDER_EXACT_MAX,
        2 * ORDER_EXACT_MAX,
      ])
      expect(relativeError(low!, at(kind, 400, 0.06, 2))).toBeLessThan(1e-13)
      expect(beyond).toBe(at(kind, 400, 1, 2 * ORDER_EXACT_MAX))
      expect(last).toBeLessThan(beyond!)
    }
  })

  test('stays finite and positive at the extremes', () => {
    for (const kind of KINDS) {
      for (const noise of [0.05, 1, 1e6, 1e12]) {
        for (const rate of [Number.MIN_VALUE, 1e-200, 1e-12, 1 - 2 ** -53]) {
          for (const order of [1.001, 1.5, 2, 10.9, 2048.5, 262144]) {
            const value = at(kind, noise, rate, order)
            expect(Number.isFinite(value) && value > 0, JSON.stringify([kind, noise, rate, order])).toBe(true)
          }
        }
      }
    }
  })

  test('an overflowing divergence is Infinity, never NaN', () => {
    for (const kind of KINDS) expect(at(kind, Number.MIN_VALUE, 0.5, 2)).toBe(Number.POSITIVE_INFINITY)
    for (const kind of KINDS) for (const rate of [0.5, 1]) expect(at(kind, Number.MAX_VALUE, rate, 2)).toBe(0)
    for (const kind of KINDS) expect(at(kind, 1, 0.5, Number.MAX_VALUE)).toBeGreaterThan(0.9)
  })
})
