import {
  clipJoint,
  meanDifferences,
  noiseDeviation,
  poissonSample,
  type RandomBytes,
  roundedNormals,
} from '../shared/privacy/index.ts'
import {
  groupCount,
  type Perturbation,
  reportLength,
  type Space,
  type Stage,
  type TrainedState,
} from '../shared/zo/index.ts'

/** Losses of lines around a point, in whatever space the run trains; see `gpu-worker/engine`. */
export interface LossOracle<Line> {
  /** @returns nats, row-major [lines, groups], the groups in the order of `groupAt`. */
  losses(lines: readonly Line[], at: Perturbation): Promise<Float32Array>
}

export interface ReleaseInput<Line> {
  readonly stage: Stage
  readonly round: number
  readonly seed: string
  readonly space: Space
  readonly state: TrainedState
  /** Units of the dataset, each one line or (unit = user) several. */
  readonly units: readonly (readonly Line[])[]
  readonly oracle: LossOracle<Line>
  /** OS CSPRNG: sampling and noise come from nothing else. */
  readonly random: RandomBytes
}

/**
 * The mechanism of DESIGN section 5, steps 1 to 5: the only place where losses become something that may leave the site.
 * It has no logger, and its result is the report's integers and nothing else.
 * @returns K noised grid integers, and one more for the private loss where the stage has one.
 */
export async function composeRelease<Line>(input: ReleaseInput<Line>): Promise<number[]> {
  const { stage, random } = input
  const deviation = noiseDeviation({ ...stage, clipping: 'joint' })
  // Drawn before the data is looked at, so that neither their values nor their timing can depend on it.
  const noise = roundedNormals({ count: reportLength(stage), deviation }, random)
  const batch = poissonSample(input.units.length, stage.samplingRate, random).map((unit) => input.units[unit]!)
  const total = Array.from(noise)
  for (const contribution of await contributions(input, batch)) {
    contribution.forEach((value, k) => {
      total[k]! += value
    })
  }
  return total
}

/** Clipped grid integers of each unit in the batch: a function of the unit and of the public state alone. */
async function contributions<Line>(
  input: ReleaseInput<Line>,
  batch: readonly (readonly Line[])[],
): Promise<Int32Array[]> {
  const lines = batch.flat()
  if (lines.length === 0) return []
  const { stage, round, state } = input
  const { directions, radius } = stage
  const at = { center: state.current, round, directions, radius, sides: 'two' } as const
  const groups = groupCount(at)
  const losses = await input.oracle.losses(lines, at)
  let line = 0
  return batch.map((unit) => {
    const rows = unit.map(() => differences(losses.subarray(line * groups, ++line * groups), radius))
    const differencesOfUnit = meanDifferences(rows.map((row) => row.differences))
    const loss = rows.reduce((sum, row) => sum + row.loss, 0) / rows.length
    const { clip, grid, lossShare, lossBound } = stage
    return clipJoint(differencesOfUnit, lossShare > 0 ? { clip, grid, lossShare, lossBound, loss } : { clip, grid })
  })
}

/** Finite differences D_k = (l+ - l-) / (2 phi) of one line, and its mean loss over all groups. */
function differences(losses: Float32Array, radius: number): { differences: Float64Array; loss: number } {
  const result = new Float64Array(losses.length / 2)
  let sum = 0
  for (let k = 0; k < result.length; k++) {
    const [plus, minus] = [losses[2 * k]!, losses[2 * k + 1]!]
    result[k] = (plus - minus) / (2 * radius)
    sum += plus + minus
  }
  return { differences: result, loss: sum / losses.length }
}
