import { randomBytes } from 'node:crypto'
import { planRun } from '../../coordinator/run/plan.ts'
import { bagOfWords } from '../../demo/bag-of-words.ts'
import { demoSpace, evaluate, openDemoEngine } from '../../demo/evaluate.ts'
import { splitMail } from '../../demo/mail/index.ts'
import type { Score } from '../../demo/score.ts'
import { BUDGET, MAILBOXES, runRequest } from '../../demo/settings.ts'
import { trainHere } from '../../demo/train.ts'
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
    const train = async (name: string, noise: 'private' | 'none') => {
      const started = performance.now()
      const state = await trainHere(spec, { engine, split }, noise)
      const seconds = (performance.now() - started) / 1000
      print(seed, name, await evaluate(engine, state, split.test), seconds)
    }
    print(seed, 'start', await evaluate(engine, initialState(spaceDimension(space)), split.test), 0)
    await train(`private, sigma ${spec.stages[0]!.noiseMultiplier}`, 'private')
    await train('no noise (not private)', 'none')
    await engine.close()
    const started = performance.now()
    print(seed, 'bag of words, private', await bagOfWords(split, BUDGET, seed), (performance.now() - started) / 1000)
  }
}

const print = (seed: string, name: string, { accuracy, auc }: Score, seconds: number) =>
  row(seed, name, percent(accuracy), auc.toFixed(4), seconds.toFixed(0))
