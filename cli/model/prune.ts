import { z } from 'zod'
import {
  inspectModel,
  layersOfWeights,
  type PrunedModel,
  pruneModel,
  type ScoreKind,
  type ScoreOptions,
  type Slopes,
  verifyMask,
} from '../../gpu-worker/engine/index.ts'
import { elementsOf, type Keep } from '../../shared/zo/index.ts'
import { checkDocument, readDocument } from '../document.ts'
import { InputError } from '../failure.ts'

export interface PruneOptions extends Keep {
  readonly variant?: string
  readonly score: ScoreKind
  /** Weights whose names it matches; default all. */
  readonly tensors?: RegExp
  readonly seed: string
  readonly queries: number
  readonly radius: number
  readonly tokens: number
  /** Answer of an earlier command, whose slopes are taken. */
  readonly slopes?: string
}

/** Entries of one layer, or of what is in none. */
export interface LayerCount {
  readonly layer: number | null
  readonly entries: number
  readonly kept: number
}

export interface Prune extends PrunedModel {
  readonly options: PruneOptions
  readonly layers: readonly LayerCount[]
  readonly verified: { readonly equal: boolean; readonly overlap: number } | null
  readonly seconds: number
}

const layerCounts = (modelDir: string, { space }: PrunedModel, variant?: string): LayerCount[] => {
  const layers = layersOfWeights(modelDir, variant)
  const counts = new Map<number | null, { entries: number; kept: number }>()
  for (const tensor of space.tensors) {
    const layer = layers.get(tensor.name) ?? null
    const { entries, kept } = counts.get(layer) ?? { entries: 0, kept: 0 }
    counts.set(layer, { entries: entries + elementsOf(tensor), kept: kept + tensor.kept })
  }
  // What is in no layer comes last.
  const place = (layer: number | null): number => layer ?? Number.POSITIVE_INFINITY
  return [...counts]
    .map(([layer, count]) => ({ layer, ...count }))
    .sort((a, b) => (place(a.layer) < place(b.layer) ? -1 : 1))
}

const slopesSchema = z
  .object({
    slopes: z.strictObject({ first: z.array(z.number()).min(1), second: z.array(z.number()).min(1) }),
  })
  .refine(({ slopes }) => slopes.first.length === slopes.second.length, 'slopes come in pairs')
/** What `--json` prints. */
const answerSchema = z.object({ data: slopesSchema })

/** Slopes of an earlier answer. @throws InputError where there are none, or not as many as queries */
const readSlopes = async ({ slopes: file, queries }: PruneOptions): Promise<Slopes | undefined> => {
  if (file === undefined) return undefined
  const { slopes } = checkDocument(answerSchema, await readDocument(file)).data
  if (slopes.first.length !== queries)
    throw new InputError(`the slopes are those of ${slopes.first.length} queries: name as many with --queries`)
  return slopes
}

const chosenWeights = async (modelDir: string, { variant, tensors }: PruneOptions) => {
  const { weights, positions } = await inspectModel(modelDir, variant === undefined ? {} : { variant })
  const chosen = weights.filter(({ name }) => tensors?.test(name) ?? true)
  if (chosen.length === 0) throw new InputError('no weight has such a name: "sotto model check --json" lists them')
  return { chosen, positions }
}

/**
 * Makes a mask, or makes one again and compares it with what is known.
 * @throws EngineError, PruningError, InputError
 */
export const pruneWeights = async (
  modelDir: string,
  options: PruneOptions,
  known: Uint8Array | undefined,
  step = (): void => {},
): Promise<Prune> => {
  const began = performance.now()
  const { chosen, positions } = await chosenWeights(modelDir, options)
  const slopes = await readSlopes(options)
  const tokens = Math.min(options.tokens, positions ?? options.tokens)
  const { score, seed, variant, queries, radius } = options
  const scored: ScoreOptions = {
    ...{ modelDir, tensors: chosen, score, seed, step, forward: { queries, radius, tokens } },
    ...(variant === undefined ? {} : { variant }),
    ...(slopes === undefined ? {} : { slopes }),
  }
  const verified = known && (await verifyMask(known, scored, options))
  const made = verified?.made ?? (await pruneModel(scored, options))
  return {
    ...made,
    options: { ...options, tokens },
    layers: layerCounts(modelDir, made, variant),
    verified: verified ? { equal: verified.equal, overlap: verified.overlap } : null,
    seconds: (performance.now() - began) / 1000,
  }
}
