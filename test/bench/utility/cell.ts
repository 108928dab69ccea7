import { createHash } from 'node:crypto'
import { initialState, spaceOfStage } from '../../../shared/zo/index.ts'
import { type DpSgdRun, runDpSgd } from './dp-sgd.ts'
import { type EngineMethod, isEngineMethod, METHODS, roundsOf, type Setting } from './methods.ts'
import { passesOf } from './passes.ts'
import type { Cell, FinishedCell } from './results.ts'
import { openSubject, type Subject, type SubjectEngine, spaceOf } from './subject.ts'
import type { Example, SplitTask } from './tasks.ts'
import { accuracyOf, planMethod, train } from './train.ts'

export interface Bench {
  readonly subject: Subject
  readonly task: SplitTask
  readonly threads: number
}

/** Public seed of a run: 16 hexadecimal digits. */
export const seedOf = (at: number): string => createHash('sha256').update(`utility ${at}`).digest('hex').slice(0, 16)

const encode = (engine: SubjectEngine, examples: readonly Example[]) => examples.map((line) => engine.encode(line))

type Outcome = Omit<FinishedCell, keyof Cell | 'seconds'>

const NOTHING_SPENT = { spent: null, noiseMultiplier: null, rounds: 0, passes: 0 }

/** The untrained model, in the smallest space there is. */
async function zeroShot({ split }: Cell, { subject, task, threads }: Bench): Promise<Outcome> {
  const placed = await spaceOf('sotto', { learningRate: 1, clip: 1, rank: 1 }, { subject, seed: seedOf(0) })
  const engine = await openSubject(subject, placed, seedOf(0), threads)
  try {
    const accuracy = await accuracyOf(engine, initialState(engine.dimension), encode(engine, task[split]))
    return { accuracy, ...NOTHING_SPENT }
  } finally {
    await engine.close()
  }
}

/** Epsilon at which a run without noise is planned: its schedule must be one that the product takes. */
const PLANNED_ALL_THE_SAME = 8

async function zerothOrder(cell: Cell & { method: EngineMethod; setting: Setting }, bench: Bench): Promise<Outcome> {
  const { method, setting, epsilon, split, directions = 'signs' } = cell
  const { subject, task, threads } = bench
  const seed = seedOf(cell.seed)
  const placed = await spaceOf(method, setting, { subject, seed })
  const given = {
    subject,
    placed,
    epsilon: epsilon ?? PLANNED_ALL_THE_SAME,
    units: task.train.length,
    seed,
    directions,
  }
  const { spec, epsilon: spent } = planMethod(method, setting, given)
  // The plan decides how directions are drawn.
  const engine = await openSubject(subject, { ...placed, space: spaceOfStage(spec, 0) }, seed, threads)
  try {
    const state = await train(method, spec, { engine, records: encode(engine, task.train) })
    const accuracy = await accuracyOf(engine, state, encode(engine, task[split]))
    const rounds = spec.stages.reduce((sum, stage) => sum + stage.rounds, 0)
    const isPrivate = METHODS[method].noise === 'private'
    const noiseMultiplier = isPrivate ? spec.stages[0]!.noiseMultiplier : 0
    return { accuracy, spent: isPrivate ? spent : null, noiseMultiplier, rounds, passes: passesOf(spec.stages) }
  } finally {
    await engine.close()
  }
}

async function firstOrder(cell: Cell & { setting: Setting; epsilon: number }, bench: Bench): Promise<Outcome> {
  const rounds = roundsOf('dp-sgd', cell.setting)
  const run: DpSgdRun = { ...cell, rounds, seed: seedOf(cell.seed) }
  return { ...(await runDpSgd(run, bench)), rounds }
}

/** Runs one cell. */
export async function runCell(cell: Cell, bench: Bench): Promise<FinishedCell> {
  const started = performance.now()
  const outcome = await outcomeOf(cell, bench)
  return { ...cell, ...outcome, seconds: Math.round((performance.now() - started) / 100) / 10 }
}

function outcomeOf(cell: Cell, bench: Bench): Promise<Outcome> {
  const { method, setting, epsilon } = cell
  if (method === 'zero-shot') return zeroShot(cell, bench)
  if (setting === null) throw new RangeError(`${method} has no setting`)
  if (isEngineMethod(method)) return zerothOrder({ ...cell, method, setting }, bench)
  return firstOrder({ ...cell, setting, epsilon: epsilon! }, bench)
}
