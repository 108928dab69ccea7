import { type Method, unitBoundOf } from '../shared/api/index.ts'
import { clipUnit, drawNoise, meanDifferences, poissonSample, type RandomBytes } from '../shared/privacy/index.ts'
import { groupCount, type Perturbation, reportLength, type Stage, type TrainedState } from '../shared/zo/index.ts'

/** Of a statistic: how the two sides of lines differ in an activation. */
export interface DifferenceOracle<Line> {
  /** @returns row-major [lines, size]; a line that does not fit is no number. */
  differences(lines: readonly Line[]): Promise<Float32Array>
}

/** Losses of lines around a point, in whatever space the run trains; see `gpu-worker/engine`. */
export interface LossOracle<Line> {
  /** @returns nats, row-major [lines, groups], the groups in the order of `groupAt`. */
  losses(lines: readonly Line[], at: Perturbation): Promise<Float32Array>
}

export interface ReleaseInput<Line> {
  readonly method: Method
  readonly stage: Stage
  readonly round: number
  readonly state: TrainedState
  /** Units of the dataset, each one line or (unit = user) several. */
  readonly units: readonly (readonly Line[])[]
  readonly oracle: LossOracle<Line> | DifferenceOracle<Line>
  /** OS CSPRNG: sampling and noise come from nothing else. */
  readonly random: RandomBytes
}

/** Of a run that trains. */
export interface TrainingInput<Line> extends ReleaseInput<Line> {
  readonly oracle: LossOracle<Line>
}

/**
 * The mechanism of DESIGN section 5, steps 1 to 5: the only place where losses become something that may leave the site.
 * It has no logger, and its result is the report's integers and nothing else.
 * @returns K noised grid integers, and one more for each of the private loss and the share of clipped units where the stage has them.
 */
export async function composeRelease<Line>(input: ReleaseInput<Line>): Promise<number[]> {
  const { stage, random } = input
  // Drawn before the data is looked at, so that neither their values nor their timing can depend on it.
  const noise = drawNoise({ ...stage, ...unitBoundOf(input.method), count: reportLength(stage) }, random)
  const batch = poissonSample(input.units.length, stage.samplingRate, random).map((unit) => input.units[unit]!)
  const total = Array.from(noise)
  for (const contribution of await contributions(input, batch)) {
    contribution.forEach((value, k) => {
      total[k]! += value
    })
  }
  return total
}

/** Clipped grid integers of each unit in the batch: a function of the unit and of the public state alone. Never leaves a site. */
export async function contributions<Line>(
  input: Omit<ReleaseInput<Line>, 'units' | 'random'>,
  batch: readonly (readonly Line[])[],
): Promise<Int32Array[]> {
  const lines = batch.flat()
  if (lines.length === 0) return []
  const { method, stage, oracle } = input
  const rowOf = 'losses' in oracle ? await lossRows(input, oracle, lines) : await statisticRows(stage, oracle, lines)
  const bound = { clip: stage.clip, grid: stage.grid, ...unitBoundOf(method) }
  let line = 0
  return batch.map((unit) => {
    const rows = unit.map(() => rowOf(line++))
    const differencesOfUnit = meanDifferences(rows.map((row) => row.differences))
    const loss = rows.reduce((sum, row) => sum + row.loss, 0) / rows.length
    const { lossShare, lossBound, clipShare = 0 } = stage
    const told = clipShare > 0 ? { ...bound, clipShare } : bound
    return clipUnit(differencesOfUnit, lossShare > 0 ? { ...told, lossShare, lossBound, loss } : told)
  })
}

/** What one line adds to its unit. */
interface Row {
  readonly differences: Float64Array
  readonly loss: number
}

async function lossRows<Line>(
  { method, stage, round, state }: Omit<ReleaseInput<Line>, 'units' | 'random'>,
  oracle: LossOracle<Line>,
  lines: readonly Line[],
): Promise<(line: number) => Row> {
  const { directions, radius } = stage
  const at = { center: state.current, round, directions, radius, sides: method.sides }
  const groups = groupCount(at)
  const losses = await oracle.losses(lines, at)
  return (line) => differences(losses.subarray(line * groups, (line + 1) * groups), at)
}

/**
 * The mechanism divides by the number of directions, as an estimate does. A coordinate is no estimate: it is taken times that
 * number before, so that the clip bounds the difference itself. Whatever this rounds, the clip bounds what comes out.
 */
async function statisticRows<Line>(
  { directions }: Stage,
  oracle: DifferenceOracle<Line>,
  lines: readonly Line[],
): Promise<(line: number) => Row> {
  const values = await oracle.differences(lines)
  return (line) => {
    const row = values.subarray(line * directions, (line + 1) * directions)
    return { differences: Float64Array.from(row, (value) => value * directions), loss: 0 }
  }
}

/**
 * Finite differences of one line, and its mean loss over all groups: D_k = (l+ - l-) / (2 phi) of two sides, or (l+ - l) / phi of
 * one, where l is the loss at the center itself, shared by all directions.
 */
function differences(
  losses: Float32Array,
  { directions, radius, sides }: Pick<Perturbation, 'directions' | 'radius' | 'sides'>,
): Row {
  const result = Float64Array.from({ length: directions }, (_, k) =>
    sides === 'two' ? (losses[2 * k]! - losses[2 * k + 1]!) / (2 * radius) : (losses[k + 1]! - losses[0]!) / radius,
  )
  return { differences: result, loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length }
}
