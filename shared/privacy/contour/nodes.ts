import { expm1, log, log1p } from '../elementary.ts'
import type { MechanismEvent } from '../event.ts'
import { GAUSS } from '../legendre.ts'
import { logMixture } from '../moment.ts'

/** Quadrature nodes of one release's privacy loss L = log dP/dQ under P, in one direction. */
export interface LossNodes {
  readonly loss: Float64Array
  /** log of the mass under P. */
  readonly logMass: Float64Array
  /** How many nodes, the first ones, are point masses and no quadrature. */
  readonly atoms: number
}

/** What E_P e^(zL) is wanted for: 0 < Re z <= tilt and |Im z| <= frequency. */
export interface Reach {
  readonly tilt: number
  readonly frequency: number
  /** The cut of the part set aside, or null: see `Part`. */
  readonly edge: number | null
}

/** Which neighbour has the unit: P and Q of the direction, as in pld/pair.ts; a replacement has but one. */
export type Direction = 'remove' | 'add' | 'replace'

/** Nodes that serve a reach, or null where it would take more than NODES_MAX. */
export type NodeRule = (reach: Reach) => LossNodes | null

const NODES_MAX = 8192
/** Standard deviations from the cut of a part to loss 0: what lies there is left in by 1e-9 at most. */
export const CUT_WIDTHS = 6
/** Frequencies of a cut of unit edge: the transform of a normal distribution of width 1/6, down to 1e-10. */
const CUT_BAND = 40
/** Standard deviations kept beyond the outermost peak: a mass of 1e-19. */
const REACH = 9.2
const LOG_DENSITY = -0.9189385332046728
const LOG_HALF = log(0.5)

/** Node in terms of M(0)'s mass and the log ratios log a at x and at -x. */
const nodeOf = (direction: Direction, base: number, ratio: number, mirrored: number): readonly [number, number] => {
  if (direction === 'remove') return [ratio, base + ratio]
  return direction === 'add' ? [-ratio, base] : [ratio - mirrored, base + ratio]
}

/** [loss, logMass] of each. */
const gathered = (list: readonly (readonly [number, number])[], atoms: number): LossNodes => ({
  loss: Float64Array.from(list, ([loss]) => loss),
  logMass: Float64Array.from(list, ([, logMass]) => logMass),
  atoms,
})

/** Nodes of a trapezoid rule: t = from + i step, i < length. */
interface Mesh {
  readonly from: number
  readonly step: number
  readonly length: number
}

const meshOf = (from: number, to: number, step: number): Mesh | null => {
  const length = Math.ceil((to - from) / step) + 1
  return length <= NODES_MAX ? { from, step, length } : null
}

const gaussianNodes = ({ noise, rate, direction }: Sampled, { from, step, length }: Mesh): LossNodes => {
  const loss = new Float64Array(length)
  const logMass = new Float64Array(length)
  const scale = log(step) + LOG_DENSITY
  const ratioAt = (t: number) => logMixture(rate, (t - 0.5 / noise) / noise)
  for (let i = 0; i < length; i++) {
    const t = from + i * step
    const node = nodeOf(direction, scale - 0.5 * t * t, ratioAt(t), direction === 'replace' ? ratioAt(-t) : 0)
    loss[i] = node[0]
    logMass[i] = node[1]
  }
  return { loss, logMass, atoms: 0 }
}

interface Sampled {
  readonly noise: number
  readonly rate: number
  readonly direction: Direction
}

/** Step in x/s for real orders, as in gaussianmoment.ts. */
const stillStep = ({ noise, rate, direction }: Sampled) => {
  const replaced = direction === 'replace'
  const sharp = replaced && rate > 0.5 ? Math.sqrt(1 + (log(rate) - log1p(-rate)) / 6) : 1
  return Math.min(0.4 / sharp, noise / (replaced ? 3 : 2.5))
}

/** Where the integrand of E_P e^(cL) lies, in standard deviations, for all c up to the tilt. */
const gaussianRange = ({ noise, rate, direction }: Sampled, tilt: number): readonly [number, number] => {
  const far = (tilt + 1) / noise
  if (direction === 'remove') return [-REACH, REACH + far]
  if (direction === 'add') return [-REACH - Math.min(20, (tilt * rate) / noise), REACH]
  return [-REACH - 2 / noise, REACH + 2 * far]
}

/** Nodes that lie e^-45 below the greatest do not count, at one tilt. */
const LOG_NOTHING = 45

/** The span of t that counts at one tilt. */
const spanOf = ({ loss, logMass }: LossNodes, { from, step, length }: Mesh, tilt: number) => {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < length; i++) top = Math.max(top, logMass[i]! + tilt * loss[i]!)
  const counts = (i: number) => logMass[i]! + tilt * loss[i]! > top - LOG_NOTHING
  let [first, last] = [0, length - 1]
  while (first < last && !counts(first)) first++
  while (last > first && !counts(last)) last--
  return { from: from + (first - 1) * step, to: from + (last + 1) * step }
}

/**
 * The trapezoid rule in x/s. e^(itL) widens the band of the integrand by t times the slope of L, which is
 * 1 - (1-q)/a per y (twice that for a replacement); a cut of width `edge`/CUT_WIDTHS by that of the cut; and a^(it) is
 * analytic in |Im x| < pi s^2 alone.
 */
const gaussianRule = (sampled: Sampled): NodeRule => {
  const { noise, rate, direction } = sampled
  const still = stillStep(sampled)
  const sides = direction === 'replace' ? 2 : 1
  // a has zeros at the strip's edge: negative powers of it are kept half-way off.
  const strip = direction === 'remove' ? 12 : 24
  const slopeAt = (ratio: number) => -expm1(log1p(-rate) - ratio)
  const wideAt = (tilt: number) => {
    const mesh = meshOf(...gaussianRange(sampled, tilt), still)
    const nodes = mesh && gaussianNodes(sampled, mesh)
    return nodes && { tilt, nodes, ...spanOf(nodes, mesh, tilt) }
  }
  // Stretch after stretch asks at the same tilt.
  let latest: ReturnType<typeof wideAt> = null
  return function gaussianMesh({ tilt, frequency, edge }) {
    if (latest?.tilt !== tilt) latest = wideAt(tilt)
    if (latest === null || (frequency === 0 && edge === null)) return latest?.nodes ?? null
    const { from, to } = latest
    const slope = sides * slopeAt(logMixture(rate, (to - 0.5 / noise) / noise))
    const band = edge === null ? 0 : (CUT_BAND / edge) * sides * slopeAt(edge)
    const step = (6.28 * noise) / (slope * frequency + band + Math.max(9 * noise, strip))
    const mesh = meshOf(from, to, Math.min(still, step))
    return mesh && gaussianNodes(sampled, mesh)
  }
}

/** A panel this wide in y (2x-1)/b keeps the rule's ellipse within |Im y| < pi. */
const PANEL_MAX = 2
/** Most radians (or nats) by which e^(zL) may turn within a panel of 16 points: an error of 1e-13. */
const TURN_MAX = 16

/** [x, log weight] of the composite rule on (0, 1). */
const panelPoints = (panels: number) => {
  const points: [number, number][] = []
  for (let panel = 0; panel < panels; panel++) {
    for (const [abscissa, weight] of GAUSS) {
      const logWeight = log(weight / 2 / panels)
      for (const sign of [-1, 1]) points.push([(panel + 0.5 + (sign * abscissa) / 2) / panels, logWeight])
    }
  }
  return points
}

/** The points of x whose nodes are wanted with the log mass of Laplace noise there: first the two atoms, then between. */
const laplaceGrid = (scale: number, replaced: boolean, panels: number) => {
  const inner = panelPoints(panels).map(([x, w]): [number, number] => [x, LOG_HALF + w - log(scale) - x / scale])
  const right: [number, number] = [1, LOG_HALF - 1 / scale]
  if (!replaced) return [[0, LOG_HALF] as const, right, ...inner]
  const mirrored = (list: readonly [number, number][]) => list.map(([x, w]): [number, number] => [-x, w])
  return [...mirrored([right]), right, ...mirrored(inner), ...inner]
}

const laplaceRule =
  (scale: number, rate: number, direction: Direction): NodeRule =>
  ({ tilt, frequency }) => {
    const replaced = direction === 'replace'
    const span = 2 / scale
    const turn = (frequency + tilt + 1) * (replaced ? 2 : 1)
    const panels = Math.max(1, Math.ceil(span / PANEL_MAX), Math.ceil((turn * span) / TURN_MAX))
    if (!(panels * 32 <= NODES_MAX)) return null
    const ratioAt = (x: number) => logMixture(rate, (Math.max(0, Math.min(1, x)) * 2 - 1) / scale)
    const nodes = laplaceGrid(scale, replaced, panels).map(([x, base]) =>
      nodeOf(direction, base, ratioAt(x), replaced ? ratioAt(-x) : 0),
    )
    return gathered(nodes, 2)
  }

/** The rule of one release in one direction; the event's rate is above 0. */
export const nodeRule = (event: MechanismEvent, direction: Direction): NodeRule => {
  const { mechanism, noiseMultiplier, samplingRate } = event
  if (mechanism === 'laplace') return laplaceRule(noiseMultiplier, samplingRate, direction)
  return gaussianRule({ noise: noiseMultiplier, rate: samplingRate, direction })
}
