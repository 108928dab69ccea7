import { type RunSpec, unitBoundOf } from '../api/spec.ts'
import { decodeClipped, decodeLoss, noiseScale, normOf } from '../privacy/index.ts'
import { reportLength, type Stage } from '../zo/schedule.ts'
import { middleOf } from '../zo/update.ts'

interface Report {
  /** Noised integers, `reportLength` of them. */
  readonly integers: readonly number[]
  /** Declared units of the dataset. */
  readonly units: number
}

/**
 * What the extra coordinates of a round's reports tell: the mean loss, in nats, and the share of clipped units. They follow the
 * rule that aggregates the differences, so that a dataset which reports anything it likes moves them no further than those.
 * @returns nothing for what the stage gives no share of the clip
 */
export function toldOf(
  spec: RunSpec,
  stage: Stage,
  reports: readonly Report[],
): { privateLoss?: number; clippedShare?: number } {
  const { mechanism, clipping } = unitBoundOf(spec)
  const how = { ...stage, clipping, norm: normOf(mechanism) }
  const { lossShare, clipShare = 0 } = stage
  const last = reportLength(stage) - 1
  const told = (coordinate: number, decode: (sum: number, expectedUnits: number) => number) =>
    aggregated(spec, reports, (some) => {
      const sum = some.reduce((total, { integers }) => total + integers[coordinate]!, 0)
      return decode(sum, stage.samplingRate * some.reduce((total, { units }) => total + units, 0))
    })
  return {
    ...(lossShare > 0 && {
      privateLoss: told(stage.directions, (sum, expectedUnits) => decodeLoss(sum, { ...how, expectedUnits })),
    }),
    ...(clipShare > 0 && {
      clippedShare: told(last, (sum, expectedUnits) => decodeClipped(sum, { ...how, clipShare, expectedUnits })),
    }),
  }
}

/**
 * Standard deviation, in nats, that the noise of a round's reports gives the private loss that they tell. What is public about the
 * loss ends there: which units were sampled adds to it, and nothing says how much.
 * @param units declared units of each dataset that reported
 * @returns null where no loss is told, or where the rule is no mean, so that no formula says it
 */
export function lossDeviation(spec: RunSpec, stage: Stage, units: readonly number[]): number | null {
  if (stage.lossShare === 0 || units.length === 0 || spec.aggregation.rule !== 'mean') return null
  const { mechanism, clipping } = unitBoundOf(spec)
  const expectedUnits = stage.samplingRate * units.reduce((sum, count) => sum + count, 0)
  const deviation = Math.sqrt(units.length * noiseVariance(spec, stage))
  // What is told is the sum by a factor, and so is its deviation.
  return decodeLoss(deviation, { ...stage, clipping, norm: normOf(mechanism), expectedUnits })
}

/** Variance of the noise in one integer of one report. */
export function noiseVariance(spec: RunSpec, stage: Stage): number {
  const size = noiseScale({ ...stage, ...unitBoundOf(spec) })
  // A Laplace variable of scale b has variance 2 b^2; rounding adds a twelfth.
  return (spec.noise === 'laplace' ? 2 : 1) * size ** 2 + 1 / 12
}

/** All reports together, or the middle of what each alone says. */
function aggregated(
  { aggregation }: Pick<RunSpec, 'aggregation'>,
  reports: readonly Report[],
  estimate: (some: readonly Report[]) => number,
): number {
  if (aggregation.rule === 'mean') return estimate(reports)
  return middleOf(
    reports.map((report) => estimate([report])),
    aggregation,
  )
}
