import { copyFileSync, existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type MergedWeight, turned } from '../../gpu-worker/engine/index.ts'
import { InputError } from '../failure.ts'
import { copyWith, floatTensorsIn, type StoredTensor, valuesOf } from './tensor-file.ts'

/**
 * Parameters of `transformers` are found by what they hold: an exporter renames and turns weights, and changes none of them. A name
 * decides where several tensors hold the same.
 */

interface Found {
  readonly file: string
  readonly tensor: StoredTensor
  /** Whether it lies as [outputs, inputs] where the model file has [inputs, outputs]. */
  readonly isTurned: boolean
  readonly isNamedAlike: boolean
}

const isNamedAlike = (a: string, b: string): boolean => a === b || a.endsWith(`.${b}`) || b.endsWith(`.${a}`)

/** Weights of half precision hold what the parameters were rounded to. */
function holds(values: Float32Array, { base, isHalf }: MergedWeight, at: (i: number) => number): boolean {
  for (let i = 0; i < base.length; i++) {
    const value = values[at(i)]!
    if (value !== base[i] && !(isHalf && Math.f16round(value) === base[i])) return false
  }
  return true
}

/** Many biases are all zero, and scales all one: such a tensor is known by its name alone. */
const isConstant = (values: Float32Array): boolean => values.every((value) => value === values[0])

function foundIn(file: string, tensor: StoredTensor, weight: MergedWeight, values: Float32Array): Found | null {
  const named = isNamedAlike(tensor.name, weight.name)
  if (!named && isConstant(weight.base)) return null
  if (holds(values, weight, (i) => i)) return { file, tensor, isTurned: false, isNamedAlike: named }
  const [rows, columns] = weight.shape as [number, number]
  const fits = weight.shape.length === 2 && tensor.shape[0] === columns && tensor.shape[1] === rows
  if (fits && holds(values, weight, (i) => (i % columns) * rows + Math.floor(i / columns)))
    return { file, tensor, isTurned: true, isNamedAlike: named }
  return null
}

/** Which parameters each weight is, by the values that both hold. */
function matched(files: readonly string[], weights: readonly MergedWeight[]): Map<MergedWeight, Found[]> {
  const found = new Map<MergedWeight, Found[]>(weights.map((weight) => [weight, []]))
  for (const file of files) {
    for (const tensor of floatTensorsIn(file)) {
      const like = weights.filter(({ base }) => base.length === tensor.count)
      if (like.length === 0) continue
      const values = valuesOf(file, tensor)
      for (const weight of like) {
        const one = foundIn(file, tensor, weight, values)
        if (one) found.get(weight)!.push(one)
      }
    }
  }
  return found
}

/**
 * Writes files of parameters, as `transformers` names and lays them, with the merged weights in them; all else stays bit for bit.
 * @param files safetensors of the base model, whole or in parts
 * @returns names of the parameters that changed
 * @throws InputError where a weight is in none of them
 */
export function writeParameters(files: readonly string[], weights: readonly MergedWeight[], output: string): string[] {
  const changed = new Map<string, Map<StoredTensor, { weight: MergedWeight; values: Float32Array }>>()
  const missing: string[] = []
  for (const [weight, found] of matched(files, weights)) {
    const named = found.filter((one) => one.isNamedAlike)
    const own = named.length > 0 ? named : found
    if (own.length === 0) missing.push(weight.name)
    for (const { file, tensor, isTurned } of own) {
      const known = changed.get(file) ?? new Map()
      const other = known.get(tensor)
      if (other && other.weight !== weight)
        throw new InputError(
          `${tensor.name} is one parameter, and ${other.weight.name} and ${weight.name} of the model file are two: export to onnx instead`,
        )
      const [rows, columns] = weight.shape as [number, number]
      known.set(tensor, { weight, values: isTurned ? turned(weight.merged, rows, columns) : weight.merged })
      changed.set(file, known)
    }
  }
  if (missing.length > 0) {
    const some = missing.slice(0, 3).join(', ')
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : ''
    throw new InputError(
      `no parameter holds what ${some}${more} of the model file does: are these the weights that it was exported from?`,
    )
  }
  for (const index of files.map((file) => `${file.replace(/-\d+-of-\d+(?=\.safetensors$)/, '')}.index.json`))
    if (existsSync(index)) copyFileSync(index, join(output, basename(index)))
  for (const file of files) {
    const own = [...(changed.get(file) ?? [])].map(([tensor, { values }]) => [tensor, values] as const)
    copyWith(file, join(output, basename(file)), new Map(own))
  }
  return [...changed.values()].flatMap((own) => [...own.keys()].map(({ name }) => name)).toSorted()
}
