import { resolve } from 'node:path'
import {
  bitsetOf,
  type Keep,
  overlapShare,
  type Pruned,
  PruningError,
  prunedBy,
  QUERIES_MAX,
  randomScores,
  requireKeep,
  type WeightTensor,
} from '../../../shared/zo/index.ts'
import { CALL_LIMITS } from '../device/index.ts'
import { EngineError } from '../error.ts'
import { Model } from '../evaluate/model.ts'
import type { EvaluatorSetup, FinishedStage } from '../evaluate/setup.ts'
import { mergeStages } from '../evaluate/trained-weights.ts'
import type { Variant } from '../graph/file.ts'
import { weightOf } from '../graph/stage.ts'
import { floatsOf } from '../graph/tensor.ts'
import { findWeights } from '../graph/weights.ts'
import { loadRuntime } from '../ort.ts'
import { makeAbsolute } from './absolute.ts'
import { type ForwardSettings, forwardScores, forwardSlopes, type ScoredWeights, type Slopes } from './forward.ts'

export const SCORES = ['forward', 'magnitude', 'random'] as const
export type ScoreKind = (typeof SCORES)[number]

/** As published, but for the length, of which nothing is said. */
export const FORWARD_DEFAULTS: ForwardSettings = { queries: 1, radius: 1e-3, tokens: 16 }

export interface ScoreOptions {
  /** Folder in the layout of transformers.js. */
  readonly modelDir: string
  readonly variant?: Variant
  /** Weights that are scored, in the order of their coordinates: any of those that `inspectModel` lists. */
  readonly tensors: readonly WeightTensor[]
  readonly score: ScoreKind
  /** Public seed, 16 hexadecimal digits; that of the run will do. */
  readonly seed: string
  /** For a mask made anew at each stage: its directions are none of those of other stages. Default 0. */
  readonly stage?: number
  /** Stages that trained the same tensors before: the weights are the model's with theirs added. */
  readonly finished?: readonly FinishedStage[]
  readonly forward?: Partial<ForwardSettings>
  /** Slopes known from elsewhere: the model is not run. */
  readonly slopes?: Slopes
  /** Called after each run of the model. */
  readonly step?: () => void
}

export interface Scores {
  /** One list for each tensor, row-major. */
  readonly values: readonly Float32Array[]
  /** What the runtime contributed to a forward score. */
  readonly slopes?: Slopes
}

/** Runs of the model that a forward score takes. */
export const forwardRuns = (queries: number): number => 4 * queries + 1

/** @throws PruningError `queries_out_of_range`, `radius_out_of_range` */
function settingsOf(given: ScoreOptions['forward']): ForwardSettings {
  const settings = { ...FORWARD_DEFAULTS, ...given }
  const { queries, radius } = settings
  if (!(Number.isInteger(queries) && queries >= 1 && queries <= QUERIES_MAX))
    throw new PruningError('queries_out_of_range', `a score has 1 to ${QUERIES_MAX} queries`)
  if (!(radius > 0 && Number.isFinite(Math.fround(radius)) && Math.fround(radius) > 0))
    throw new PruningError('radius_out_of_range', 'a radius is above 0, and finite')
  return settings
}

function requireSlopes({ first, second }: Slopes, { queries }: ForwardSettings): void {
  if (first.length !== queries || second.length !== queries)
    throw new PruningError('wrong_length', 'there are not two slopes for each query')
}

function setupOf({ modelDir, variant, tensors, seed }: ScoreOptions): EvaluatorSetup {
  return {
    ...{ modelDir: resolve(modelDir), variant, seed },
    space: { kind: 'full', directions: { kind: 'dense' }, tensors },
    outputs: { kind: 'vocabulary' },
    ...{ positions: new Map(), mask: undefined, padToken: 0, cacheBytes: 0 },
    ...{ device: 'cpu', keepsHalves: false, limits: { call: CALL_LIMITS.cpu, buckets: 1 } },
  }
}

/** @throws EngineError `unknown_site`, `site_mismatch` */
function requireWeights(model: Model, tensors: readonly WeightTensor[]): void {
  const known = new Set(findWeights(model.graph).map(({ name }) => name))
  const odd = tensors.find(({ name }) => !known.has(name))
  if (odd) throw new EngineError('unknown_site', `the model has no weight ${odd.name}: see "sotto model check"`)
  for (const tensor of tensors) weightOf(model.graph, tensor)
}

/**
 * Scores of weights, no data read: `forward` (see `forward.ts`), `magnitude` |w|, or `random`. The last two are the same bits on
 * every machine, and so is the first where slopes are given.
 * @throws EngineError where the model or its weights do not fit; PruningError for settings out of range.
 */
export async function scoreWeights(options: ScoreOptions): Promise<Scores> {
  const { score, seed, stage = 0, tensors } = options
  const settings = settingsOf(options.forward)
  const model = new Model(await loadRuntime(), setupOf(options))
  try {
    requireWeights(model, tensors)
    if (score === 'random') return { values: randomScores(seed, stage, tensors) }
    const merge = mergeStages(options.finished ?? [])
    const weightsOf = (tensor: WeightTensor): Float32Array => {
      const weight = floatsOf(weightOf(model.graph, tensor))
      merge(weight, tensors.indexOf(tensor))
      return weight
    }
    if (score === 'magnitude') return { values: tensors.map((tensor) => makeAbsolute(weightsOf(tensor))) }
    const at: ScoredWeights = { seed, stage, tensors, weightsOf }
    if (options.slopes) requireSlopes(options.slopes, settings)
    const slopes = options.slopes ?? (await forwardSlopes(model, at, settings, options.step))
    return { values: forwardScores(at, settings, slopes), slopes }
  } finally {
    model.release()
  }
}

export interface PrunedModel extends Pruned {
  readonly slopes?: Slopes
}

/**
 * Makes the mask of a pruned space.
 * @example
 * const { weights } = await inspectModel(modelDir)
 * const { mask, space } = await pruneModel({ modelDir, tensors: weights, score: 'magnitude', seed }, keep)
 * @throws EngineError, PruningError
 */
export async function pruneModel(options: ScoreOptions, keep: Keep): Promise<PrunedModel> {
  const tensors = options.tensors.map(({ name, shape }) => ({ name, shape }))
  // Before the model is run, not after.
  requireKeep(keep.keep)
  const { values, slopes } = await scoreWeights({ ...options, tensors })
  return { ...prunedBy(values, tensors, keep), ...(slopes && { slopes }) }
}

export interface Verification {
  /** Whether the mask is the same, bit for bit. */
  readonly equal: boolean
  /** Share of the kept entries that both masks have; 0 where they are of other tensors. */
  readonly overlap: number
  readonly made: PrunedModel
}

/**
 * Makes a mask again and compares. Forward scores of another kind of machine may differ in few entries: judge them by the
 * overlap, or by the slopes that came with the mask.
 * @throws EngineError, PruningError
 */
export async function verifyMask(mask: Uint8Array, options: ScoreOptions, keep: Keep): Promise<Verification> {
  const made = await pruneModel(options, keep)
  const fits = made.mask.length === mask.length
  const overlap = fits ? overlapShare(bitsetOf(made.mask, made.space), bitsetOf(mask, made.space)) : 0
  return { equal: fits && made.mask.every((byte, at) => byte === mask[at]), overlap, made }
}
