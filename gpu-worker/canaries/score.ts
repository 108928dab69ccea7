import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunSpec, unitBoundOf } from '../../shared/api/index.ts'
import { type RunRecord, resolvedSpec } from '../../shared/ledger/index.ts'
import { noiseScale, oneRunLowerBound } from '../../shared/privacy/index.ts'
import { advance, type ReplayPoint, replayStart } from '../../shared/zo/index.ts'
import { contributions } from '../release.ts'
import { openTrainingSite } from '../site-engine.ts'
import type { Canaries } from './plant.ts'
import { Regression } from './regression.ts'

export interface ScoreQuestion {
  readonly canaries: Canaries
  /** The whole log of a run over the copy, audited. */
  readonly records: readonly RunRecord[]
  readonly dataset: string
  /** Folder of the model that the run trained. */
  readonly modelDir: string
  readonly threads: number | 'auto'
  /** Called after each round that was looked at. */
  readonly onRound: () => void
}

/** How a canary and the releases go together. */
export interface Scored {
  readonly planted: boolean
  /** How much of it is estimated to be in the data, by each attack: near 0 or 1 where nothing hides it. */
  readonly scores: readonly number[]
}

/** What each attack takes the noise for, of what the run claims. */
const NOISES = [1, 1e-3] as const

/** A run that is not scored: of a statistic, or with masks that are made on the way. */
export class NotScoredError extends Error {}

/**
 * What an attacker who sees the log makes of each canary. The model's states follow from the log, and so does what a canary adds to a
 * round, clipped as a worker does it: a release is the sum of what those in the batch add, and noise of a known size, so that how
 * much of each canary is in it is a linear regression, with the coins that decided on them for its prior. It is done for the noise that
 * the run claims, and once more for a thousandth of it, which is far better where a worker adds less than it says.
 * @throws NotScoredError, EngineError, ReplayError
 */
export async function scoreCanaries(question: ScoreQuestion): Promise<Scored[]> {
  const { canaries, records, dataset, modelDir, threads, onRound } = question
  const [first] = records
  if (first?.type !== 'spec') throw new NotScoredError('the log has no spec')
  const spec = resolvedSpec(first.spec, records)
  requireTrained(spec)
  const folder = mkdtempSync(join(tmpdir(), 'sotto-canaries-'))
  const data = join(folder, 'canaries.jsonl')
  writeFileSync(data, canaries.lines.map((line) => `${line}\n`).join(''), { mode: 0o600 })
  const site = await openTrainingSite(spec, modelDir, {
    data,
    unit: 'record',
    labels: null,
    threads,
    device: 'cpu',
    log: () => undefined,
  })
  try {
    const regressions = NOISES.map(() => new Regression(canaries.lines.length))
    let point: ReplayPoint = replayStart(spec)
    let stageIndex = 0
    for (const close of records.filter((record) => record.type === 'close')) {
      const { state } = point
      if (state.stage !== stageIndex) await site.setStage(state.stage, state.finished)
      stageIndex = state.stage
      const released = close.reports.find((report) => report.dataset === dataset)?.integers
      if (released) {
        const stage = spec.stages[state.stage]!
        const added = await contributions({ method: spec, stage, round: close.round, state, oracle: site }, site.units)
        const claimed = noiseScale({ ...stage, ...unitBoundOf(spec) })
        for (const [attack, regression] of regressions.entries()) {
          const deviation = claimed * NOISES[attack]!
          const expected = added.map((vector) => Float64Array.from(vector, (n) => (stage.samplingRate * n) / deviation))
          const sums = Float64Array.from(released, (n) => n / deviation)
          regression.add(expected, sums)
        }
      }
      point = advance(spec, point, close)
      onRound()
    }
    const estimates = regressions.map((regression) => regression.estimate())
    return canaries.planted.map((planted, index) => ({ planted, scores: estimates.map((each) => each[index]!) }))
  } finally {
    await site.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

function requireTrained({ space, stages }: RunSpec): void {
  if (space.kind === 'statistic') throw new NotScoredError('a statistic has no losses that canaries could move')
  if (stages.some(({ prune }) => prune))
    throw new NotScoredError('masks that are made on the way are not made again here')
}

/** How many guesses of each attack are right: the highest scores are guessed to be in the data, the lowest not, as many of either. */
export function rightGuesses(scored: readonly Scored[], guesses: number): number[] {
  return NOISES.map((_, attack) => {
    const ordered = scored.toSorted((a, b) => b.scores[attack]! - a.scores[attack]!)
    const half = Math.floor(guesses / 2)
    const highest = ordered.slice(0, half).filter(({ planted }) => planted).length
    const lowest = ordered.slice(ordered.length - (guesses - half)).filter(({ planted }) => !planted).length
    return highest + lowest
  })
}

/**
 * The largest epsilon that the best of the attacks refutes, its confidence shared out among all of them.
 * @param confidence such as 0.95
 */
export function lowerBoundOf(
  scored: readonly Scored[],
  { guesses, delta, confidence }: { guesses: number; delta: number; confidence: number },
): { lower: number; correct: number } {
  const each = 1 - (1 - confidence) / NOISES.length
  const correct = Math.max(...rightGuesses(scored, guesses))
  return { lower: oneRunLowerBound({ canaries: scored.length, guesses, correct, delta }, each), correct }
}
