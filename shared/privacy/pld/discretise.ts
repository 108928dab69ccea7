import { exp, expm1, log } from '../elementary.ts'
import type { DominatingPair } from './pair.ts'

/** Where losses are put: at `offset + i * step` for integers i. */
export interface Lattice {
  readonly step: number
  readonly offset: number
}

/**
 * Two distributions of the loss of one release on a lattice, that enclose the true one: with
 * delta(eps) = sum_i p_i (1 - e^(eps - loss_i))_+ (+ `infinite` for the upper one), the lower is at most the release's
 * and the upper at least, at every real eps. Both need not have total mass 1. Entry j stands for index `first + j`.
 *
 * The order survives composition: the delta of a product is an integral, over the first release's measure, of the
 * second's delta at a shifted eps, and both are monotone in each other.
 */
export interface EnclosedLoss {
  readonly lattice: Lattice
  readonly first: number
  readonly upper: Float64Array
  readonly lower: Float64Array
  /** Mass at infinite loss of the upper distribution: what lies beyond the last lattice point. */
  readonly infinite: number
}

/** Mass of P that may be cut off at either end of the lattice. */
export interface Cuts {
  /** Above: all of it counts as a breach. */
  readonly top: number
  /** Below: it is moved up. */
  readonly bottom: number
}

interface Cells {
  /** P-mass of cell j, the losses in (point j-1, point j]; entry 0 is what lies at or below point 0. */
  readonly mass: Float64Array
  /** Part of it that belongs to point j when the cell is split to its ends so that P- and Q-mass stay; the rest goes to j-1. */
  readonly share: Float64Array
  /** Bound on the rounding error of `share`. */
  readonly error: Float64Array
  readonly above: number
}

/** Safe limit of lattice indices and lengths. */
const POINTS_MAX = 2 ** 21

/** Least x in [low, high] (a multiple of `grain` from low) with holds(x); `holds` is monotone and true at high. */
const leastIndex = (low: number, high: number, holds: (index: number) => boolean): number => {
  let [from, to] = [low, high]
  while (to - from > 1) {
    const middle = Math.floor((from + to) / 2)
    if (holds(middle)) to = middle
    else from = middle
  }
  return to
}

/** Above this loss, cells are not split: Q-masses would underflow. */
const LOSS_EXACT_MAX = 600

/** The lattice indices between which the loss lies, but for the cuts; null where there would be too many. */
const range = (pair: DominatingPair, lattice: Lattice, cuts: Cuts): { first: number; last: number } | null => {
  const masses = new Float64Array(5)
  const at = (index: number, entry: 0 | 2) => {
    pair.masses(lattice.offset + index * lattice.step, masses)
    return masses[entry]!
  }
  const last = leastIndex(-POINTS_MAX, POINTS_MAX, (index) => at(index, 0) <= cuts.top)
  const first = leastIndex(-POINTS_MAX, POINTS_MAX, (index) => at(index, 2) > cuts.bottom) - 1
  return last - first < POINTS_MAX && last < POINTS_MAX && first > -POINTS_MAX ? { first, last } : null
}

/** Splits the losses in (from, to] to the ends of a cell (top - step, top] around them, given the masses at both. */
const split = (from: Float64Array, to: Float64Array, { top, step }: { top: number; step: number }) => {
  const side = from[0]! < from[2]! ? 0 : 2
  const mass = Math.abs(to[side]! - from[side]!)
  // Above, e^-loss leaves the doubles: the whole cell goes up in upper bounds, and down in lower ones.
  if (top > LOSS_EXACT_MAX) return { mass, share: mass, error: mass }
  const q = Math.abs(to[side + 1]! - from[side + 1]!)
  const floor = exp(top - step)
  const outer = side === 0 ? from : to
  const size = outer[side]! + floor * outer[side + 1]!
  const width = -expm1(-step)
  return {
    mass,
    share: Math.min(mass, Math.max(0, (mass - q * floor) / width)),
    error: Math.min(mass, (4 * Math.max(to[4]!, from[4]!) * size) / width),
  }
}

/** Cell masses, from whichever side of the distribution is the smaller: no digit is lost in the tails. */
const cellsOf = (
  pair: DominatingPair,
  { step, offset }: Lattice,
  { first, last }: { first: number; last: number },
): Cells => {
  const count = last - first + 1
  const [mass, share, error] = [new Float64Array(count), new Float64Array(count), new Float64Array(count)]
  let [before, here] = [new Float64Array(5), new Float64Array(5)]
  pair.masses(offset + first * step, before)
  mass[0] = before[2]!
  share[0] = mass[0]!
  for (let j = 1; j < count; j++) {
    const top = offset + (first + j) * step
    pair.masses(top, here)
    const cell = split(before, here, { top, step })
    mass[j] = cell.mass
    share[j] = cell.share
    error[j] = cell.error
    ;[before, here] = [here, before]
  }
  return { mass, share, error, above: before[0]! }
}

/** Width of a crowd, in steps: below 1, so that it lies within a step of its merged loss on either side. */
const CROWD_WIDTH = 0.9
/** A smaller crowd is no matter. */
const CROWD_MIN = 1e-9

/** Losses within less than a step, that lower bounds keep together as one point mass. */
interface Crowd {
  readonly from: number
  readonly to: number
  readonly p: number
  /** log(P-mass / Q-mass), rounded down. */
  readonly loss: number
}

/**
 * Where few units are sampled, most losses crowd within less than a step, and no chord comes near a delta with such a
 * corner. Merged into one point mass they are the loss of a coarser view of the same release, hence a lower bound; the
 * lattice is laid through that point.
 */
const crowdOf = ({ crowd, masses }: DominatingPair, step: number): Crowd | null => {
  if (!crowd) return null
  const from = crowd.loss - crowd.below * step
  const to = from + CROWD_WIDTH * step
  const [low, high] = [new Float64Array(5), new Float64Array(5)]
  masses(from, low)
  masses(to, high)
  const side = low[0]! < low[2]! ? 0 : 2
  const p = Math.abs(high[side]! - low[side]!)
  const q = Math.abs(high[side + 1]! - low[side + 1]!)
  const outer = side === 0 ? low : high
  const error = 4 * Math.max(high[4]!, low[4]!) * (outer[side]! / p + outer[side + 1]! / q)
  const loss = log(p / q) - error
  return p > CROWD_MIN && loss > from && loss < to && error < step * 1e-3 ? { from, to, p, loss } : null
}

/** The cells of a lattice through the crowd, without it: what is left of the two cells at its point. */
const withoutCrowd = (
  pair: DominatingPair,
  cells: Cells,
  { crowd, index, step }: { crowd: Crowd; index: number; step: number },
): Cells => {
  const around = [crowd.loss - step, crowd.from, crowd.to, crowd.loss + step].map((loss) => {
    const masses = new Float64Array(5)
    pair.masses(loss, masses)
    return masses
  })
  const left = split(around[0]!, around[1]!, { top: crowd.loss, step })
  const right = split(around[2]!, around[3]!, { top: crowd.loss + step, step })
  const [mass, share, error] = [cells.mass.slice(), cells.share.slice(), cells.error.slice()]
  for (const [j, cell] of [
    [index, left],
    [index + 1, right],
  ] as const) {
    mass[j] = cell.mass
    share[j] = cell.share
    error[j] = cell.error
  }
  return { mass, share, error, above: cells.above }
}

/**
 * Connect the dots (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022, arXiv 2207.04380): each cell's mass goes to its
 * two ends so that P- and Q-mass stay. Rounding is resolved upwards: the upper end gets the error bound on top.
 */
const connectDots = ({ mass, share, error }: Cells): Float64Array => {
  const upper = new Float64Array(mass.length)
  for (let j = 0; j < mass.length; j++) {
    const up = Math.min(mass[j]!, share[j]! + error[j]!)
    upper[j]! += up
    if (j > 0) upper[j - 1]! += mass[j]! - up
  }
  return upper
}

/** Relative enlargement of sags, far above their rounding error. */
const SAG_SLACK = 1e-12

/**
 * How far a cell's chord may lie above delta inside the cell, in units of 1 - e^-step: the height of the triangle between
 * the chord and the tangents at the cell's ends, for a cell split into `up` and `down`.
 */
const sagOf = (up: number, down: number, ratio: number) => {
  const weighted = down * ratio
  return up + weighted > 0 ? (up * weighted) / (up + weighted) : 0
}

/** The cells rounded downwards: the mass at or below the first point is dropped. */
const roundedDown = ({ mass, share, error }: Cells) => {
  const up = mass.map((_, j) => (j === 0 ? 0 : Math.max(0, share[j]! - error[j]!)))
  const down = mass.map((p, j) => (j === 0 ? 0 : p - up[j]!))
  return { up, down }
}

/**
 * By how much delta must be lowered at every lattice point, in units of 1 - e^-step, so that its chords stay below it.
 * In a cell with shares (up, down) it suffices that drop[j-1]/up + drop[j] e^-step/down >= 1: the chord then passes below
 * the corner of the triangle. Where delta is less than that, it falls to 0, from `ground` on. Null: nothing would be left.
 */
const dropsOf = (
  { up, down, atom }: { up: Float64Array; down: Float64Array; atom: { index: number; p: number } | null },
  step: number,
) => {
  const ratio = exp(step)
  const drop = new Float64Array(up.length)
  const deltas = new Float64Array(up.length)
  const lowest = up.findIndex((p, j) => p + (down[j + 1] ?? 0) > 0 || j === atom?.index)
  const enlarge = 1 + SAG_SLACK
  let ground = up.length - 1
  // delta at point j - 1, and the masses above it times e^-(their distance to point j).
  let delta = 0
  let weight = 0
  let deltaAbove = 0
  for (let j = up.length - 1; j > 0; j--) {
    weight = up[j]! + (j + 1 < up.length ? down[j + 1]! : 0) + (j === atom?.index ? atom.p : 0) + weight / ratio
    delta += weight
    deltas[j - 1] = delta
    const [high, low] = [up[j]!, down[j]! * ratio]
    const needed = low > drop[j]! ? high * (1 - drop[j]! / low) : 0
    const own = j > 1 ? sagOf(up[j - 1]!, down[j - 1]!, ratio) : 0
    const wanted = Math.max(needed, own) * enlarge
    if (wanted >= delta) ground = j - 1
    drop[j - 1] = Math.min(wanted, delta)
    if (j === lowest + 2) deltaAbove = delta
  }
  // Below the lowest point nothing is lost, so the drop there must be 0, and the next has the whole of their cell to pay.
  drop.fill(0, 0, lowest + 1)
  drop.set(deltas.subarray(ground), ground)
  drop[lowest + 1] = Math.max(drop[lowest + 1]!, down[lowest + 1]! * ratio * enlarge)
  return ground > lowest + 1 && drop[lowest + 1]! < deltaAbove ? { drop, ground } : null
}

/**
 * Lower convex hull, in terms of mass: a negative mass means that delta is not convex at its point; the point is dropped,
 * and its mass goes to its neighbours so that P- and Q-mass stay. Leftmost, it takes its P-mass from the next.
 */
const convexHull = (mass: Float64Array, step: number, last: number): Float64Array => {
  const kept = new Int32Array(last + 1)
  let count = 0
  for (let next = 0; next <= last; next++) {
    while (count > 0 && mass[kept[count - 1]!]! < 0) {
      const point = kept[--count]!
      const debt = mass[point]!
      mass[point] = 0
      if (count === 0) {
        mass[next]! += debt
        continue
      }
      const left = kept[count - 1]!
      // Share of the right neighbour: (1 - e^-(point-left)) / (1 - e^-(next-left)), as masses of P.
      const right = expm1((left - point) * step) / expm1((left - next) * step)
      mass[next]! += debt * right
      mass[left]! += debt * (1 - right)
    }
    kept[count++] = next
  }
  // At its last point delta falls to 0 from above; were rounding to deny it, 0 is a bound too.
  return mass[last]! < 0 ? mass.fill(0) : mass
}

/** Every cell rounded down to its lower end: first order in the step, for steps so wide that corners leave nothing. */
const bucketed = ({
  up,
  down,
  atom,
}: {
  up: Float64Array
  down: Float64Array
  atom: { index: number; p: number } | null
}) => {
  const lower = new Float64Array(up.length)
  for (let j = 1; j < up.length; j++) lower[j - 1] = up[j]! + down[j]!
  if (atom) lower[atom.index]! += atom.p
  return lower
}

/** The mirror image of connecting the dots: delta lowered at the lattice points until its chords lie below it. */
const cutCorners = (
  cells: Cells,
  { step, atom }: { step: number; atom: { index: number; p: number } | null },
): Float64Array => {
  const { up, down } = roundedDown(cells)
  const drops = dropsOf({ up, down, atom }, step)
  if (!drops) return bucketed({ up, down, atom })
  const { drop, ground } = drops
  const shrink = exp(-step)
  const last = up.length - 1
  const lower = up.map((p, j) => {
    if (j > ground) return 0
    const base = p + (j < last ? down[j + 1]! : 0) + (j === atom?.index ? atom.p : 0)
    const onRight = j < last ? drop[j + 1]! - drop[j]! : 0
    const onLeft = j > 0 ? drop[j]! - drop[j - 1]! : 0
    return base - onRight * shrink + onLeft
  })
  return convexHull(lower, step, ground)
}

/** A point mass goes to the lattice point at or beside it: exactly where it is one, else upwards and downwards. */
const placeAtoms = (
  pair: DominatingPair,
  lattice: Lattice,
  into: { first: number; upper: Float64Array; lower: Float64Array },
) => {
  const { first, upper, lower } = into
  const width = -expm1(-lattice.step)
  for (const { loss, p } of pair.atoms) {
    const position = (loss - lattice.offset) / lattice.step - first
    const nearest = Math.round(position)
    if (Math.abs(position - nearest) <= onLattice(position + first)) {
      upper[nearest]! += p
      lower[nearest]! += p
      continue
    }
    const below = Math.floor(position)
    // The same split as a cell's, for a cell with all its mass at one loss.
    const share = (p * -expm1((below - position) * lattice.step)) / width
    upper[below + 1]! += share
    upper[below]! += p - share
    lower[below]! += p
  }
}

/** A position this near to an integer is one but for rounding; the accountant's allowance for losses covers it. */
const onLattice = (position: number) => 2 ** -49 * (Math.abs(position) + 1)

/** Losses that all lie within one step: the lower bound sees nothing of the release, which is a point mass at loss 0. */
const atNoLoss = (
  given: Pick<EnclosedLoss, 'lattice' | 'first' | 'upper'> & { pair: DominatingPair; above: number },
): EnclosedLoss => {
  const { pair, lattice, first, upper, above } = given
  const lower = new Float64Array(upper.length)
  placeAtoms(pair, lattice, { first, upper, lower })
  lower.fill(0)
  lower[-first] = 1
  return { lattice, first, upper, lower, infinite: above * INFINITE_SLACK }
}

/** Room for the rounding of a tail. */
const INFINITE_SLACK = 1 + 1e-9

/** Encloses the loss of one release between two lattice distributions; null where the lattice would be too long. */
export const enclose = (pair: DominatingPair, step: number, cuts: Cuts): EnclosedLoss | null => {
  const crowd = pair.atoms.length === 0 ? crowdOf(pair, step) : null
  const narrow = pair.atoms.length > 0 && pair.atoms.at(-1)!.loss - pair.atoms[0]!.loss < step
  const lattice = { step, offset: crowd?.loss ?? (narrow ? 0 : (pair.atoms[0]?.loss ?? 0)) }
  const continuous = range(pair, lattice, cuts)
  if (!continuous) return null
  const positions = pair.atoms.map(({ loss }) => (loss - lattice.offset) / step)
  const first = Math.min(continuous.first, -1, ...positions.map(Math.floor)) - 1
  const last = Math.max(continuous.last, 1, ...positions.map(Math.ceil))
  if (last - first >= POINTS_MAX) return null
  const cells = cellsOf(pair, lattice, { first, last })
  const upper = connectDots(cells)
  if (narrow) return atNoLoss({ pair, lattice, first, upper, above: cells.above })
  const rest = crowd ? withoutCrowd(pair, cells, { crowd, index: -first, step }) : cells
  const lower = cutCorners(rest, { step, atom: crowd ? { index: -first, p: crowd.p } : null })
  placeAtoms(pair, lattice, { first, upper, lower })
  return { lattice, first, upper, lower, infinite: cells.above * INFINITE_SLACK }
}
