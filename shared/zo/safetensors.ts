export interface Tensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/** A safetensors file of float32 tensors: length of the header, JSON header padded to 8 bytes, little-endian data. */
export function safetensors(tensors: readonly Tensor[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata }
  let offset = 0
  for (const { name, shape, data } of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + 4 * data.length] }
    offset += 4 * data.length
  }
  const text = new TextEncoder().encode(JSON.stringify(header))
  const padded = Math.ceil(text.length / 8) * 8
  const bytes = new Uint8Array(8 + padded + offset).fill(0x20, 8, 8 + padded)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(padded), true)
  bytes.set(text, 8)
  let at = 8 + padded
  for (const { data } of tensors) {
    for (const value of data) {
      view.setFloat32(at, value, true)
      at += 4
    }
  }
  return bytes
}
