import { EngineError } from '../error.ts'

/** A trained adapter as its file has it: what each stage adds, by the names that `shared/zo/adapter.ts` gives. */
export interface TrainedAdapter {
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>
  readonly metadata: Readonly<Record<string, string>>
}

/** A tensor of one stage at one site, or of one weight. */
export interface StagePart {
  readonly stage: number
  readonly shape: readonly number[]
  readonly data: Float32Array
}

const NAME = /^(.+)\.stage(\d+)\.([A-Za-z]+)$/

/**
 * Parts of one kind (`A`, `V`, `R`, `delta`, `values`) by what they belong to, in the order of the file, each in order of stage.
 * @throws EngineError `malformed_model` for a tensor that belongs to none
 */
export function partsOf({ tensors }: TrainedAdapter, kind: string): Map<string, StagePart[]> {
  const parts = new Map<string, StagePart[]>()
  for (const [name, { shape, data }] of tensors) {
    const [, owner, stage, own] = NAME.exec(name) ?? []
    if (owner === undefined) throw new EngineError('malformed_model', `the adapter has a tensor ${name} of no stage`)
    if (own === kind) parts.set(owner, [...(parts.get(owner) ?? []), { stage: Number(stage), shape, data }])
  }
  for (const own of parts.values()) own.sort((a, b) => a.stage - b.stage)
  return parts
}
