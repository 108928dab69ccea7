import { createHash, randomFillSync } from 'node:crypto'
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { roundUp } from '../../shared/api/index.ts'
import { canonicalJson } from '../../shared/ledger/index.ts'
import { calibrateNoise, epsilonBounds, gaussianEvent } from '../../shared/privacy/index.ts'
import { readUnits } from '../data/index.ts'
import { WorkerError } from '../error.ts'
import { writeDurably } from '../outbox/index.ts'
import { countUnits } from './draw.ts'

/** What is counted, and what that may cost. */
export interface CountQuestion {
  /** Lifetime budget. */
  readonly epsilon: number
  readonly delta: number
  /** Of epsilon that the count may cost. */
  readonly share: number
  readonly unit: 'record' | 'user'
}

/** What a count answers, and what the registration of the dataset takes of it. */
export interface CountAnswer {
  readonly units: number
  readonly unit: 'record' | 'user'
  readonly count: { readonly noiseMultiplier: number }
  readonly budget: { readonly epsilon: number; readonly delta: number }
  /** Certified upper bound of what the count costs. */
  readonly epsilon: number
}

/** One count of one file, as it was released. */
interface Kept {
  readonly question: CountQuestion
  readonly answer: CountAnswer
}

const NOISE_DIGITS = 5
const NOISE_STEP = 1.0001

/** The least noise, of few digits and rounded up, that costs no more than the share. */
function noiseFor({ epsilon, delta, share }: CountQuestion): { noiseMultiplier: number; cost: number } {
  const target = { targetEpsilon: share * epsilon, delta }
  const stages = [{ mechanism: 'gaussian' as const, samplingRate: 1, rounds: 1 }]
  const least = calibrateNoise({ ...target, stages }).noiseMultiplier
  for (
    let noiseMultiplier = roundUp(least, NOISE_DIGITS);
    ;
    noiseMultiplier = roundUp(noiseMultiplier * NOISE_STEP, NOISE_DIGITS)
  ) {
    const event = gaussianEvent({ noiseMultiplier, samplingRate: 1 })
    const cost = epsilonBounds([{ event, count: 1 }], delta).epsilon
    if (cost <= target.targetEpsilon) return { noiseMultiplier, cost }
  }
}

/** Where the count of a file lies: beside it, one for each kind of unit. */
function placeOf(file: string, unit: string): { folder: string; path: string } {
  const folder = join(dirname(resolve(file)), '.sotto', 'counts')
  const name = createHash('sha256')
    .update(`${unit} ${resolve(file)}`)
    .digest('hex')
    .slice(0, 16)
  return { folder, path: join(folder, `${name}.json`) }
}

/** The count released before, for the same question. @throws WorkerError `counted_before` where the question was another */
function keptAnswer(path: string, question: CountQuestion): CountAnswer | null {
  if (!existsSync(path)) return null
  const kept = JSON.parse(readFileSync(path, 'utf8')) as Kept
  if (canonicalJson(kept.question) === canonicalJson(question)) return kept.answer
  throw new WorkerError(
    'counted_before',
    `these units were counted before, for another budget or share: a second count is a second release. Remove ${path} only where nobody has seen the first`,
  )
}

/**
 * A private count of the units of a file, released once: what was drawn is kept beside the data before it is told, and told again to
 * the same question.
 * @throws WorkerError `counted_before`, `disk_full`; DataError; PrivacyError where no noise meets the share
 */
export async function countPrivately(file: string, question: CountQuestion): Promise<CountAnswer> {
  const { folder, path } = placeOf(file, question.unit)
  const kept = keptAnswer(path, question)
  if (kept) return kept
  const { epsilon, delta, unit } = question
  const { noiseMultiplier, cost } = noiseFor(question)
  const units = (await readUnits(file, { unit, labels: null })).length
  const noised = countUnits({ units, noiseMultiplier }, (length) => randomFillSync(new Uint8Array(length)))
  const answer = { units: noised, unit, count: { noiseMultiplier }, budget: { epsilon, delta }, epsilon: cost }
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return keepFirst({ folder, path }, { question, answer })
}

/**
 * Written before it is told, so that no crash lets it be drawn again; of two processes that count at once, the first one's count
 * is what both tell.
 */
function keepFirst({ folder, path }: { folder: string; path: string }, kept: Kept): CountAnswer {
  const own = `${path}.${process.pid}`
  writeDurably(folder, own, canonicalJson(kept))
  try {
    linkSync(own, path)
    return kept.answer
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    return keptAnswer(path, kept.question)!
  } finally {
    rmSync(own, { force: true })
  }
}
