import { frozenFactor, siteLength, siteOffsets, stateHash, type TrainedState } from '../../shared/zo/index.ts'
import { safetensors, type Tensor } from './safetensors.ts'
import type { RunView } from './view.ts'

export function adapterKey(run: string): string {
  return `runs/${run}/adapter.safetensors`
}

/**
 * The trained adapter: for each stage s and site `<site>.stage<s>.A` [inputs, rank] and `<site>.stage<s>.V` [rank, outputs],
 * the site's scale multiplied into V, so that the model's weight is W + sum over s of A V. A pure function of the log.
 */
export function adapterFile(view: Pick<RunView, 'id' | 'spec' | 'specHash'>, state: TrainedState): Uint8Array {
  const { spec } = view
  const offsets = siteOffsets(spec.space)
  const tensors = [...state.finished, state.current].flatMap((factor, stage): Tensor[] =>
    spec.space.sites.flatMap(({ name, inputs, outputs, scale }, site) => {
      const offset = offsets[site]!
      const signs = frozenFactor(spec.seed, { stage, site }, spec.space)
      return [
        {
          name: `${name}.stage${stage}.A`,
          shape: [inputs, spec.space.rank],
          data: factor.subarray(offset, offset + siteLength(spec.space, site)),
        },
        {
          name: `${name}.stage${stage}.V`,
          shape: [spec.space.rank, outputs],
          data: Float32Array.from(signs, (sign) => sign * scale),
        },
      ]
    }),
  )
  return safetensors(tensors, {
    format: 'sotto-lora-v1',
    run: view.id,
    specHash: view.specHash,
    stateHash: stateHash(state),
  })
}
