import { planRun } from '../../../coordinator/run/plan.ts'
import { secretRandom } from '../../../demo/simulate.ts'
import type { EncodedRecord } from '../../../gpu-worker/engine/index.ts'
import { wasmKernels } from '../../../gpu-worker/engine/kernels/index.ts'
import { composeRelease } from '../../../gpu-worker/release.ts'
import type { RunRequest, RunSpec, SpaceRequest } from '../../../shared/api/index.ts'
import {
  advance,
  coefficients,
  expandPreset,
  replayStart,
  type TrainedState,
  totalRounds,
} from '../../../shared/zo/index.ts'
import { type EngineMethod, METHODS, presetOf, type Setting } from './methods.ts'
import { sumWithoutNoise } from './non-private.ts'
import type { PlacedSpace, Subject, SubjectEngine } from './subject.ts'

export const DELTA = 1e-5
/** No model of the bench is registered anywhere. */
const NO_MODEL = '0'.repeat(64)

export interface Planned {
  readonly spec: RunSpec
  /** Certified upper bound of all rounds with the spare charges. */
  readonly epsilon: number
}

/** Method and space of a request. */
type How = Pick<RunRequest, 'preset' | 'stages' | 'space' | 'clipping' | 'noise' | 'sides' | 'guarantee'>

/** The plan of the product: its noise pays for all rounds at this epsilon. */
export function plan(
  how: How,
  given: { task: RunRequest['task']; epsilon: number; units: number; seed: string },
): Planned {
  const { task, epsilon, units, seed } = given
  const request = { model: NO_MODEL, task, ...how, datasets: ['bench'], budget: { epsilon, delta: DELTA } }
  const planned = planRun(request, { seed, datasets: [{ id: 'bench', units, unit: 'record' }] })
  return { spec: planned.spec, epsilon: planned.epsilonWithSpares.epsilon }
}

/** How directions are drawn: signs for all methods, which the engine makes several times faster, or as the preset says. */
export type Directions = 'signs' | 'published'

/** The plan of a method in its space. */
export function planMethod(
  name: EngineMethod,
  setting: Setting,
  given: {
    subject: Subject
    placed: PlacedSpace
    epsilon: number
    units: number
    seed: string
    directions: Directions
  },
): Planned {
  const preset = presetOf(name, setting)
  const space = given.placed.space as SpaceRequest
  const at = { ...given, task: given.subject.task }
  if (given.directions === 'published') return plan({ preset: preset as RunRequest['preset'], space }, at)
  const { distribution: _, stages, ...method } = expandPreset(preset)
  return plan(
    { ...method, stages: [...stages] as RunRequest['stages'], space: { ...space, distribution: 'rademacher' } },
    at,
  )
}

/** All rounds of a run in this process, by the functions of the product. */
export async function train(
  name: EngineMethod,
  spec: RunSpec,
  { engine, records }: { engine: SubjectEngine; records: readonly EncodedRecord[] },
): Promise<TrainedState> {
  const release = METHODS[name].noise === 'private' ? composeRelease<EncodedRecord> : sumWithoutNoise<EncodedRecord>
  const { stages, aggregation } = spec
  const units = records.map((record) => [record])
  let point = replayStart(spec)
  for (let round = 0; round < totalRounds(stages); round++) {
    const { stage: index } = point.state
    const stage = stages[index]!
    const at = { method: spec, stage, round, state: point.state }
    const integers = await release({ ...at, units, oracle: engine, random: secretRandom })
    const closed = { round, coefficients: coefficients([{ integers, units: units.length }], stage, aggregation) }
    point = advance(spec, point, closed, wasmKernels)
    if (point.state.stage !== index) await engine.setStage(point.state.stage, [...point.state.finished])
  }
  return point.state
}

/** Share of records whose largest logit is their label's. */
export async function accuracyOf(
  engine: SubjectEngine,
  state: TrainedState,
  records: readonly EncodedRecord[],
): Promise<number> {
  const logits = await engine.logits(records, state.current)
  const classes = logits.length / records.length
  const right = records.filter(({ targets }, row) => {
    const own = logits.subarray(row * classes, (row + 1) * classes)
    return own.indexOf(Math.max(...own)) === targets[0]
  })
  return right.length / records.length
}
