import { frozenFactor } from './direction.ts'
import type { ReplaySpec } from './replay.ts'
import { safetensors, type Tensor } from './safetensors.ts'
import { spaceOfStage } from './schedule.ts'
import {
  type FullSpace,
  type LoraSpace,
  type PrunedSpace,
  type Space,
  type StatisticSpace,
  segmentLengths,
  segmentOffsets,
} from './space.ts'
import { stateHash, type TrainedState } from './state.ts'

/** A run whose adapter is written. */
export interface Trained {
  readonly id: string
  /** With the masks of all stages. */
  readonly resolved: ReplaySpec
  readonly specHash: string
}

export function adapterKey(run: string): string {
  return `runs/${run}/adapter.safetensors`
}

/** What one stage leaves: its coordinates, segment after segment. */
interface FinishedStage {
  readonly stage: number
  readonly seed: string
  readonly segments: readonly Float32Array[]
}

/** `<site>.stage<s>.A` [inputs, rank] and `<site>.stage<s>.V` [rank, outputs], the site's scale multiplied into V: W + A V. */
function factorTensors(space: LoraSpace, { stage, seed, segments }: FinishedStage): Tensor[] {
  return space.sites.flatMap(({ name, inputs, outputs, scale }, site) => {
    const signs = frozenFactor(seed, { stage, site }, space)
    return [
      { name: `${name}.stage${stage}.A`, shape: [inputs, space.rank], data: segments[site]! },
      {
        name: `${name}.stage${stage}.V`,
        shape: [space.rank, outputs],
        data: Float32Array.from(signs, (sign) => sign * scale),
      },
    ]
  })
}

/** `<site>.stage<s>.R` [rank, rank]: W + scale * U R V, with the bases that the format's name fixes. */
function coreTensors({ sites, rank }: LoraSpace, { stage, segments }: FinishedStage): Tensor[] {
  return sites.map(({ name }, site) => ({
    name: `${name}.stage${stage}.R`,
    shape: [rank, rank],
    data: segments[site]!,
  }))
}

/** `<tensor>.stage<s>.delta`, of the tensor's shape: W + delta. */
function deltaTensors({ tensors }: FullSpace, { stage, segments }: FinishedStage): Tensor[] {
  return tensors.map(({ name, shape }, segment) => ({
    name: `${name}.stage${stage}.delta`,
    shape,
    data: segments[segment]!,
  }))
}

/** `<tensor>.stage<s>.values` [kept]: what is added to the entries that the stage's mask keeps, in their order, times its factors if any. */
function keptTensors({ tensors }: PrunedSpace, { stage, segments }: FinishedStage): Tensor[] {
  return tensors.map(({ name, kept }, segment) => ({
    name: `${name}.stage${stage}.values`,
    shape: [kept],
    data: segments[segment]!,
  }))
}

function tensorsOf(space: Space, finished: FinishedStage): Tensor[] {
  switch (space.kind) {
    case 'full':
      return deltaTensors(space, finished)
    case 'pruned':
      return keptTensors(space, finished)
    case 'lora':
      return space.trained === 'core' ? coreTensors(space, finished) : factorTensors(space, finished)
  }
}

/**
 * How the tensors of a run are to be read; `scales` has what is not multiplied into them, for each site, and `masks` the hash of
 * each stage's mask.
 */
function formatOf(spaces: readonly Space[], seed: string): Record<string, string> {
  const [space] = spaces as [Space]
  switch (space.kind) {
    case 'full':
      return { format: 'sotto-delta-v1' }
    case 'pruned':
      return {
        format: 'sotto-pruned-v1',
        masks: JSON.stringify(spaces.map((each) => (each.kind === 'pruned' ? each.mask : null))),
        weighted: JSON.stringify(spaces.map((each) => each.kind === 'pruned' && each.weighted === true)),
      }
    case 'lora': {
      if (space.trained === 'factor') return { format: 'sotto-lora-v1' }
      const scales = Object.fromEntries(space.sites.map(({ name, scale }) => [name, scale]))
      return { format: 'sotto-lora-core-v1', scales: JSON.stringify(scales), ...basesOf(space, seed) }
    }
  }
}

/** Bases of cores: of the base weight, or made of the run's seed. */
const basesOf = ({ bases = 'singular' }: LoraSpace, seed: string): Record<string, string> =>
  bases === 'seeded' ? { bases, seed } : { bases }

/** `<activation>.mean` [size]: what is added to the activation, as often as one likes. */
function steeringFile(
  { id, specHash }: Pick<Trained, 'id' | 'specHash'>,
  { activation, size, token }: StatisticSpace,
  state: TrainedState,
): Uint8Array {
  const tensors = [{ name: `${activation}.mean`, shape: [size], data: state.current }]
  return safetensors(tensors, {
    format: 'sotto-steering-v1',
    activation,
    token,
    run: id,
    specHash,
    stateHash: stateHash(state),
  })
}

/**
 * The trained adapter, a pure function of the log: what each stage adds to the weights of the base model, in the form that
 * its metadata name. The model's weight is the base and the sum over all stages.
 */
export function adapterFile(view: Trained, state: TrainedState): Uint8Array {
  const { resolved: spec } = view
  if (spec.space.kind === 'statistic') return steeringFile(view, spec.space, state)
  const spaces = spec.stages.map((_, stage) => spaceOfStage(spec, stage))
  const tensors = [...state.finished, state.current].flatMap((factor, stage) => {
    const space = spaces[stage]!
    const lengths = segmentLengths(space)
    const segments = segmentOffsets(space).map((offset, at) => factor.subarray(offset, offset + lengths[at]!))
    return tensorsOf(space, { stage, seed: spec.seed, segments })
  })
  return safetensors(tensors, {
    ...formatOf(spaces, spec.seed),
    run: view.id,
    specHash: view.specHash,
    stateHash: stateHash(state),
  })
}
