import type { MaskReport, RunSpec } from '../shared/api/index.ts'
import { type Space, spaceOfStage, wantsMask } from '../shared/zo/index.ts'
import { EngineError, type FinishedStage, keptOf, type PrunedModel, pruneModel, type Slopes } from './engine/index.ts'
import { filesByHash } from './named-files.ts'

/** Where the masks of a model lie in its folder: files of the model like any other, named by the hash of what they hold. */
export const MASKS = 'masks'

/** Masks by their hash: of files, or made anew. */
export type Masks = ReadonlyMap<string, Uint8Array>

/** A stage's space, with its mask where it is pruned. */
export type MaskedSpace = { readonly space: Space; readonly mask?: Uint8Array }

/**
 * Spaces of the first stages of a run.
 * @param made masks that are no files of the model.
 * @param count of the stages; default: all up to the first whose mask is not made yet.
 * @throws EngineError `wrong_mask` where one is not there
 */
export function maskedSpaces(spec: RunSpec, modelDir: string, made: Masks, count = masked(spec)): MaskedSpace[] {
  const spaces = Array.from({ length: count }, (_, stage) => spaceOfStage(spec, stage))
  const wanted = spaces.flatMap((space) => (space.kind === 'pruned' && !made.has(space.mask) ? [space.mask] : []))
  const files = filesByHash(modelDir, MASKS, new Set(wanted))
  return spaces.map((space) => {
    if (space.kind !== 'pruned') return { space }
    const mask = made.get(space.mask) ?? files.get(space.mask)?.bytes
    if (!mask)
      throw new EngineError('wrong_mask', `no file under ${MASKS}/ of the model has the hash that the space names`)
    // All are looked through when a run is opened: a later stage must not end it.
    keptOf(space, mask)
    return { space, mask }
  })
}

function masked(spec: RunSpec): number {
  const unmade = spec.stages.findIndex((_, stage) => wantsMask(spec, stage))
  return unmade < 0 ? spec.stages.length : unmade
}

/** A run as far as its masks go: its spec knows those that are made, and `masks` how. */
export interface MaskedRun {
  readonly resolved: RunSpec
  readonly masks: readonly MaskReport[]
}

/**
 * Makes the mask of a stage of the weights that it begins with, which the stages before have trained. No data are read.
 * @param slopes what the runtime contributed where the mask was made first; left out, the model is run for them.
 */
export async function makeMask(
  { resolved }: Pick<MaskedRun, 'resolved'>,
  stage: number,
  from: { modelDir: string; made: Masks; finished: readonly Float32Array[]; slopes?: Slopes | undefined },
): Promise<PrunedModel> {
  const { space, seed } = resolved
  const { prune } = resolved.stages[stage]!
  if (!prune || space.kind !== 'pruned') throw new EngineError('wrong_mask', 'the stage has no mask to make')
  const { score, queries, radius, tokens } = prune
  const spaces = maskedSpaces(resolved, from.modelDir, from.made, stage)
  const finished = from.finished.slice(0, stage).map((trained, at): FinishedStage => {
    return { space: spaces[at]!.space, mask: spaces[at]!.mask, trained }
  })
  const options = { modelDir: from.modelDir, tensors: space.tensors, score, seed, stage, finished }
  const forward = { queries, radius, tokens }
  return await pruneModel({ ...options, forward, ...(from.slopes ? { slopes: from.slopes } : {}) }, prune)
}

/**
 * Makes all masks anew that the log of a run says were made, each as it was made first, and checks them.
 * @param made those made before; the others are added.
 * @throws EngineError `wrong_mask` where one is another than the log says
 */
export async function remakeMasks(
  run: MaskedRun,
  from: { modelDir: string; made: Map<string, Uint8Array>; finished: readonly Float32Array[] },
): Promise<void> {
  for (const { stage, mask, slopes } of run.masks) {
    if (from.made.has(mask)) continue
    const again = await makeMask(run, stage, { ...from, slopes: slopes ?? undefined })
    if (again.space.mask !== mask)
      throw new EngineError('wrong_mask', `the mask of stage ${stage} is another than the log of the run says`)
    from.made.set(mask, again.mask)
  }
}
