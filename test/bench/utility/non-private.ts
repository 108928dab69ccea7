import type { TrainingInput } from '../../../gpu-worker/release.ts'
import { unitBoundOf } from '../../../shared/api/index.ts'
import { clipUnit, poissonSample } from '../../../shared/privacy/index.ts'
import { groupCount } from '../../../shared/zo/index.ts'

/**
 * NOT PRIVATE. The clipped sum of a round without its noise, for the column of the benchmark that shows what noise costs. Nothing
 * outside `test/bench/` may import this: the schema of a run refuses sigma 0, and no worker has such a path.
 */
export async function sumWithoutNoise<Line>(input: TrainingInput<Line>): Promise<number[]> {
  const { stage, units, random, method } = input
  const { directions, radius, clip, grid } = stage
  const total = new Array<number>(directions).fill(0)
  const batch = poissonSample(units.length, stage.samplingRate, random).map((unit) => units[unit]!)
  if (batch.length === 0) return total
  const around = { center: input.state.current, round: input.round, directions, radius, sides: 'two' as const }
  // Units of the bench are records: one line each.
  const losses = await input.oracle.losses(batch.flat(), around)
  batch.forEach((_, row) => {
    const at = row * groupCount(around)
    const differences = Float64Array.from({ length: directions }, (_, k) => {
      return (losses[at + 2 * k]! - losses[at + 2 * k + 1]!) / (2 * radius)
    })
    clipUnit(differences, { clip, grid, ...unitBoundOf(method) }).forEach((value, k) => {
      total[k]! += value
    })
  })
  return total
}
