import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { loadRuntime } from '../../gpu-worker/engine/ort.ts'
import type { ZooRecord } from './zoo.ts'

const ort = await loadRuntime()

const padded = (record: ZooRecord, pad: number): number[] =>
  Array.from({ length: record.bucket }, (_, at) => record.ids[at] ?? pad)

/** Tensors [records, bucket] of records of one bucket; a past of no tokens where the graph takes one. */
function feeds(session: InferenceSession, records: readonly ZooRecord[], pad: number): Record<string, Tensor> {
  const bucket = records[0]!.bucket
  const made: Record<string, number[]> = {
    input_ids: records.flatMap((record) => padded(record, pad)),
    attention_mask: records.flatMap((record) => padded(record, pad).map((_, at) => (at < record.ids.length ? 1 : 0))),
    token_type_ids: records.flatMap((record) => Array<number>(record.bucket).fill(0)),
    position_ids: records.flatMap((record) => Array.from({ length: record.bucket }, (_, at) => at)),
  }
  return Object.fromEntries(
    session.inputMetadata.map((input) => {
      if (!input.isTensor) throw new Error(`${input.name} is no tensor`)
      const values = made[input.name]
      if (values) return [input.name, new ort.Tensor('int64', values.map(BigInt), [records.length, bucket])]
      const dims = input.shape.map((size, at) => (at === 0 ? records.length : typeof size === 'number' ? size : 0))
      const empty = input.type === 'float16' ? new Uint16Array(0) : new Float32Array(0)
      return [input.name, new ort.Tensor(input.type, empty, dims)]
    }),
  )
}

function floats(logits: Tensor): Float32Array {
  const { data } = logits
  if (data instanceof Float32Array) return data
  const { buffer, byteOffset, length } = data as unknown as Uint16Array<ArrayBuffer>
  return Float32Array.from(new Float16Array(buffer, byteOffset, length))
}

/** Weighted cross-entropy of each record, by a session over a graph as it was exported. */
export async function lossesOf(
  session: InferenceSession,
  records: readonly ZooRecord[],
  pad: number,
): Promise<number[]> {
  const { logits } = (await session.run(feeds(session, records, pad), ['logits'])) as { logits: Tensor }
  const width = logits.dims.at(-1)!
  const values = floats(logits)
  const each = values.length / records.length
  return records.map((record, at) => {
    const crossEntropy = (position: number, target: number): number => {
      const start = at * each + position * width
      const row = [...values.subarray(start, start + width)]
      const highest = Math.max(...row)
      return highest + Math.log(row.reduce((sum, x) => sum + Math.exp(x - highest), 0)) - row[target]!
    }
    return record.positions.reduce((sum, p, k) => sum + record.weights[k]! * crossEntropy(p, record.targets[k]!), 0)
  })
}
