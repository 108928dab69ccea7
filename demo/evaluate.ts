import { inspectModel, openEngine } from '../gpu-worker/engine/index.ts'
import type { LoraSpace, Space, TrainedState } from '../shared/zo/index.ts'
import type { Mail } from './mail/index.ts'
import { type Score, score } from './score.ts'
import { METHOD, MODEL_FOLDER, TASK } from './settings.ts'

/** The sites that the demo trains, with the shapes that its model has. */
export async function demoSpace(): Promise<LoraSpace> {
  const { sites } = await inspectModel(MODEL_FOLDER)
  const chosen = METHOD.sites.map(({ name, scale }) => {
    const site = sites.find((candidate) => candidate.name === name)
    if (!site) throw new Error(`the model has no site ${name}; it has ${sites.map((each) => each.name).join(', ')}`)
    return { name, inputs: site.inputs, outputs: site.outputs, scale }
  })
  return { kind: 'lora', rank: METHOD.rank, trained: 'factor', sites: chosen }
}

export const openDemoEngine = (space: Space, seed: string, threads = 2) =>
  openEngine({ modelDir: MODEL_FOLDER, task: TASK, space, seed, threads })
export type DemoEngine = Awaited<ReturnType<typeof openDemoEngine>>

/** Mails as the engine reads them. */
export const encodeMails = (engine: DemoEngine, mails: readonly Mail[]) =>
  mails.map(({ text, label }) => engine.encode({ text, label }))

/** Accuracy and AUC of a trained state on the held-out mails. */
export async function evaluate(engine: DemoEngine, state: TrainedState, mails: readonly Mail[]): Promise<Score> {
  await engine.setStage(state.stage, [...state.finished])
  const labels = Object.keys(TASK.labels)
  const logits = await engine.logits(encodeMails(engine, mails), state.current)
  const [ham, spam] = [labels.indexOf('ham'), labels.indexOf('spam')]
  const margins = mails.map((_, i) => logits[i * labels.length + spam]! - logits[i * labels.length + ham]!)
  return score(
    margins,
    mails.map(({ label }) => label),
  )
}
