import { type RunSpec, unitBoundOf } from '../api/spec.ts'
import { decodeLoss, normOf } from '../privacy/index.ts'
import type { Stage } from '../zo/schedule.ts'

/**
 * The mean loss of a round, in nats, from the last coordinate of its reports: pooled over the datasets, whatever rule
 * aggregates the differences.
 * @param reports noised integers of each dataset, `directions + 1` of them, and the dataset's declared units
 * @returns nothing where the stage gives the loss no share of the clip
 */
export function privateLossOf(
  spec: RunSpec,
  stage: Stage,
  reports: readonly { integers: readonly number[]; units: number }[],
): { privateLoss?: number } {
  if (stage.lossShare === 0) return {}
  const sum = reports.reduce((total, report) => total + report.integers[stage.directions]!, 0)
  const expectedUnits = stage.samplingRate * reports.reduce((total, report) => total + report.units, 0)
  const { mechanism, clipping } = unitBoundOf(spec)
  return { privateLoss: decodeLoss(sum, { ...stage, clipping, norm: normOf(mechanism), expectedUnits }) }
}
