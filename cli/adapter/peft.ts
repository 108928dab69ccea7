import { safetensors, type Tensor } from '../../shared/zo/index.ts'
import { InputError } from '../failure.ts'
import { isTransposed, KNOWN_KINDS, type ModelConfig, modulesOf } from './modules.ts'
import { type ReadTensor, readSafetensors } from './safetensors.ts'

/** Files of a PEFT LoRA adapter. */
export interface PeftAdapter {
  readonly weights: Uint8Array
  readonly config: { readonly r: number; readonly target_modules: string[] } & Record<string, unknown>
}

/** What all stages add to a site: the product of `a` [inputs, rank] and `v` [rank, outputs], stages side by side in the rank. */
interface SiteFactors {
  readonly inputs: number
  readonly outputs: number
  readonly stages: { readonly rank: number; readonly a: Float32Array; readonly v: Float32Array }[]
}

const FACTOR = /^(.+)\.stage(\d+)\.([AV])$/

function factorsOf(tensors: ReadonlyMap<string, ReadTensor>): Map<string, SiteFactors> {
  const sites = new Map<string, SiteFactors>()
  const names = [...tensors.keys()].filter((name) => FACTOR.exec(name)?.[3] === 'A')
  const byStage = names.toSorted((a, b) => Number(FACTOR.exec(a)![2]) - Number(FACTOR.exec(b)![2]))
  for (const name of byStage) {
    const [, site] = FACTOR.exec(name) as unknown as [string, string]
    const a = tensors.get(name)!
    const v = tensors.get(name.replace(/A$/, 'V'))!
    const [inputs, rank] = a.shape as [number, number]
    const known = sites.get(site) ?? { inputs, outputs: v.shape[1]!, stages: [] }
    known.stages.push({ rank, a: a.data, v: v.data })
    sites.set(site, known)
  }
  return sites
}

/** `lora_A.weight` [rank, inputs]: the factors of all stages, transposed, one below the other. */
function downOf({ inputs, stages }: SiteFactors): Float32Array {
  return Float32Array.from(
    stages.flatMap(({ rank, a }) =>
      Array.from({ length: rank * inputs }, (_, i) => a[(i % inputs) * rank + Math.floor(i / inputs)]!),
    ),
  )
}

/** `lora_B.weight` [outputs of the module, rank]: the columns of one module, transposed, stages side by side. */
function upOf({ outputs, stages }: SiteFactors, from: number, to: number): Float32Array {
  const rows = Array.from({ length: to - from }, (_, row) =>
    stages.flatMap(({ rank, v }) => Array.from({ length: rank }, (__, k) => v[k * outputs + from + row]!)),
  )
  return Float32Array.from(rows.flat())
}

/**
 * An adapter of a `lora` run as PEFT has it: W' = W + B A, of a rank that holds all stages, alpha equal to the rank so that nothing is
 * scaled. Sites that are several modules of the library share A.
 * @throws InputError where the adapter or the model is of a kind that PEFT has no form for
 */
export function peftAdapter(bytes: Uint8Array, config: ModelConfig, base: string): PeftAdapter {
  const { tensors, metadata } = readSafetensors(bytes, 'the adapter')
  if (metadata.format !== 'sotto-lora-v1')
    throw new InputError(
      `PEFT's LoRA has no form for an adapter of the format ${metadata.format ?? 'that is not named'}`,
    )
  if (!KNOWN_KINDS.includes(config.model_type))
    throw new InputError(
      `where the sites of a ${config.model_type} lie is not known; known are ${KNOWN_KINDS.join(', ')}`,
    )
  const made: Tensor[] = []
  const targets: string[] = []
  let rank = 0
  for (const [site, factors] of factorsOf(tensors)) {
    const { inputs, outputs, stages } = factors
    rank = stages.reduce((all, stage) => all + stage.rank, 0)
    const modules = modulesOf(site, outputs, config)
    if (!modules) throw new InputError(`where site ${site} of a ${config.model_type} lies is not known`)
    for (const { path, from, to } of modules) {
      targets.push(path)
      const prefix = `base_model.model.${path}`
      made.push({ name: `${prefix}.lora_A.weight`, shape: [rank, inputs], data: downOf(factors) })
      made.push({ name: `${prefix}.lora_B.weight`, shape: [to - from, rank], data: upOf(factors, from, to) })
    }
  }
  const isCausal = config.architectures?.some((name) => /ForCausalLM$|LMHeadModel$/.test(name)) === true
  return {
    weights: safetensors(made, { format: 'pt' }),
    config: {
      peft_type: 'LORA',
      task_type: isCausal ? 'CAUSAL_LM' : null,
      base_model_name_or_path: base,
      inference_mode: true,
      r: rank,
      lora_alpha: rank,
      lora_dropout: 0,
      bias: 'none',
      use_rslora: false,
      fan_in_fan_out: isTransposed(config),
      target_modules: targets,
      modules_to_save: null,
    },
  }
}
