import type { RunSpec } from '../shared/api/index.ts'
import { spaceOfStage, type TrainedState } from '../shared/zo/index.ts'
import { type DemoEngine, encodeMails } from './evaluate.ts'
import type { MailSplit } from './mail/index.ts'
import { sumWithoutNoise } from './non-private.ts'
import { MAILBOXES } from './settings.ts'
import { simulate } from './simulate.ts'

/**
 * The demo's run in this process, over the three mailboxes: for comparisons.
 * @param noise `none` is NOT PRIVATE, and gives the private loss's share of the clip to the differences.
 */
export async function trainHere(
  spec: Pick<RunSpec, 'seed' | 'space' | 'stages'>,
  data: { engine: DemoEngine; split: MailSplit },
  noise: 'private' | 'none',
  onRound: (round: number) => void = () => {},
): Promise<TrainedState> {
  const { engine, split } = data
  const { seed } = spec
  const space = spaceOfStage(spec, 0)
  await engine.setStage(0, [])
  const datasets = MAILBOXES.map((id) => encodeMails(engine, split.mailboxes[id]).map((record) => [record]))
  if (noise === 'private') return simulate({ seed, space, stages: spec.stages, datasets, oracle: engine, onRound })
  const stages = spec.stages.map((stage) => ({ ...stage, lossShare: 0 }))
  return simulate({ seed, space, stages, datasets, oracle: engine, release: sumWithoutNoise, onRound })
}
