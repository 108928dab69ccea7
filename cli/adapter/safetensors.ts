import { z } from 'zod'
import { InputError } from '../failure.ts'

export interface ReadTensor {
  readonly shape: readonly number[]
  readonly data: Float32Array
}

const entrySchema = z.object({
  dtype: z.literal('F32'),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
})

/** Reads a safetensors file of float32 tensors. @throws InputError */
export function readSafetensors(
  bytes: Uint8Array,
  name: string,
): { tensors: Map<string, ReadTensor>; metadata: Record<string, string> } {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const length = Number(view.getBigUint64(0, true))
    const header: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + length)))
    const { __metadata__: metadata = {}, ...entries } = z.record(z.string(), z.unknown()).parse(header)
    const tensors = new Map<string, ReadTensor>()
    for (const [tensor, value] of Object.entries(entries)) {
      const { shape, data_offsets } = entrySchema.parse(value)
      const [from, to] = data_offsets
      const size = shape.reduce((product, n) => product * n, 1)
      if (to - from !== 4 * size || 8 + length + to > bytes.length) throw new RangeError('offsets')
      const data = Float32Array.from({ length: size }, (_, i) => view.getFloat32(8 + length + from + 4 * i, true))
      tensors.set(tensor, { shape, data })
    }
    return { tensors, metadata: z.record(z.string(), z.string()).parse(metadata) }
  } catch {
    throw new InputError(`${name} is no safetensors file of float32 tensors`)
  }
}
