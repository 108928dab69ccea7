import type { TrainingInput } from '../gpu-worker/release.ts'
import { clipJoint, poissonSample } from '../shared/privacy/index.ts'
import { groupCount, type Perturbation } from '../shared/zo/index.ts'

/**
 * NOT PRIVATE. The same clipped sum without noise, for the comparison that the demo prints, over public data in the demo's own
 * process. Nothing outside `demo/` may import this: the schema of a run refuses sigma 0, and no worker has such a path.
 */
export async function sumWithoutNoise<Line>(input: TrainingInput<Line>): Promise<number[]> {
  const { stage, units, random } = input
  const batch = poissonSample(units.length, stage.samplingRate, random).map((unit) => units[unit]!)
  const { directions, radius } = stage
  const around: Perturbation = { center: input.state.current, round: input.round, directions, radius, sides: 'two' }
  const total = new Array<number>(stage.directions).fill(0)
  if (batch.length === 0) return total
  const losses = await input.oracle.losses(batch.flat(), around)
  // Demo units are records: one line each.
  batch.forEach((_, row) => {
    const at = row * groupCount(around)
    const differences = Float64Array.from({ length: stage.directions }, (_, k) => {
      return (losses[at + 2 * k]! - losses[at + 2 * k + 1]!) / (2 * stage.radius)
    })
    clipJoint(differences, { clip: stage.clip, grid: stage.grid }).forEach((v, k) => {
      total[k]! += v
    })
  })
  return total
}
