import { randomBytes } from 'node:crypto'
import { planRun } from '../../coordinator/run/plan.ts'
import { bagOfWords } from '../../demo/bag-of-words.ts'
import { demoSpace, encodeMails, evaluate, openDemoEngine } from '../../demo/evaluate.ts'
import { splitMail } from '../../demo/mail/index.ts'
import { sumWithoutNoise } from '../../demo/non-private.ts'
import type { Score } from '../../demo/score.ts'
import { BUDGET, MAILBOXES, runRequest } from '../../demo/settings.ts'
import { simulate } from '../../demo/simulate.ts'
import { initialState, spaceDimension } from '../../shared/zo/index.ts'

const percent = (share: number) => `${(100 * share).toFixed(2)} %`
const row = (...cells: (string | number)[]) => console.log(`| ${cells.join(' | ')} |`)

/** The demo's run in one process, over fresh seeds: what is in docs/benchmarks.md. */
export async function utility({ seeds }: { seeds: number }): Promise<void> {
  const split = await splitMail()
  const space = await demoSpace()
  row('seed', 'run', 'accuracy', 'AUC', 'seconds')
  row('---', '---', '---:', '---:', '---:')
  for (let i = 0; i < seeds; i++) {
    const seed = randomBytes(8).toString('hex')
    const datasetFacts = MAILBOXES.map((id) => ({ id, units: split.mailboxes[id].length, unit: 'record' as const }))
    const { spec } = planRun(runRequest('0'.repeat(64), space), { seed, datasets: datasetFacts })
    const engine = await openDemoEngine(space, seed)
    const datasets = MAILBOXES.map((id) => encodeMails(engine, split.mailboxes[id]).map((record) => [record]))
    const train = async (name: string, more: { release?: typeof sumWithoutNoise; lossShare?: number }) => {
      const started = performance.now()
      await engine.setStage(0, [])
      const stages = spec.stages.map((stage) => ({ ...stage, lossShare: more.lossShare ?? stage.lossShare }))
      const oracle = {
        losses: (lines: readonly (typeof datasets)[number][number][number][], groups: readonly Float32Array[]) =>
          engine.losses(lines, groups),
        setStage: (stage: number, finished: readonly Float32Array[]) => engine.setStage(stage, finished),
      }
      const state = await simulate({
        seed,
        space,
        stages,
        datasets,
        oracle,
        ...(more.release ? { release: more.release } : {}),
      })
      const seconds = (performance.now() - started) / 1000
      print(seed, name, await evaluate(engine, state, split.test), seconds)
    }
    print(seed, 'start', await evaluate(engine, initialState(spaceDimension(space)), split.test), 0)
    await train(`private, sigma ${spec.stages[0]!.noiseMultiplier}`, {})
    await train('no noise (not private)', { release: sumWithoutNoise, lossShare: 0 })
    await engine.close()
    const started = performance.now()
    print(seed, 'bag of words, private', await bagOfWords(split, BUDGET, seed), (performance.now() - started) / 1000)
  }
}

const print = (seed: string, name: string, { accuracy, auc }: Score, seconds: number) =>
  row(seed, name, percent(accuracy), auc.toFixed(4), seconds.toFixed(0))
