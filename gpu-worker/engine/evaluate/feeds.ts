import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { EngineError } from '../error.ts'
import { POSITIONS, SELECTION, TARGETS, WEIGHTS } from '../graph/loss.ts'
import type { BucketSize } from '../graph/stage.ts'
import type { Runtime } from '../ort.ts'
import type { EncodedRecord } from './setup.ts'

export type Feeds = Record<string, Tensor>

/** Token ids, attention mask and token types of one record, [1, T], padded on the right. */
export function tokenFeeds(runtime: Runtime, { ids, bucket }: EncodedRecord, padToken: number): Feeds {
  const padded = new BigInt64Array(bucket).fill(BigInt(padToken))
  const mask = new BigInt64Array(bucket)
  ids.forEach((id, at) => {
    padded[at] = BigInt(id)
    mask[at] = 1n
  })
  const tensor = (values: BigInt64Array): Tensor => new runtime.Tensor('int64', values, [1, bucket])
  return {
    input_ids: tensor(padded),
    attention_mask: tensor(mask),
    token_type_ids: tensor(new BigInt64Array(bucket)),
  }
}

/** Positions of one record, [P]; those that only fill up point at the first token and weigh nothing. */
export function positionFeeds(runtime: Runtime, record: EncodedRecord, size: BucketSize): Feeds {
  const positions = BigInt64Array.from({ length: size.positions }, (_, p) => BigInt(record.positions[p] ?? 0))
  const selection = new Float32Array(size.positions * size.tokens)
  positions.forEach((position, p) => {
    selection[p * size.tokens + Number(position)] = 1
  })
  return {
    [POSITIONS]: new runtime.Tensor('int64', positions, [size.positions]),
    [SELECTION]: new runtime.Tensor('float32', selection, [1, size.positions, size.tokens]),
  }
}

/** Rows of unit matrices for several records, [N, P, T]. */
export function selectionFeed(runtime: Runtime, records: readonly EncodedRecord[], size: BucketSize): Feeds {
  const { positions: count, tokens } = size
  const selection = new Float32Array(records.length * count * tokens)
  records.forEach((record, n) => {
    for (let p = 0; p < count; p++) selection[(n * count + p) * tokens + (record.positions[p] ?? 0)] = 1
  })
  return { [SELECTION]: new runtime.Tensor('float32', selection, [records.length, count, tokens]) }
}

/** Targets [N, P, 1] and weights [N, 1, P]: of one record for every group, or of each record. */
export function targetFeeds(runtime: Runtime, records: readonly EncodedRecord[], positions: number): Feeds {
  const targets = new BigInt64Array(records.length * positions)
  const weights = new Float32Array(records.length * positions)
  records.forEach((record, n) => {
    record.targets.forEach((target, p) => {
      targets[n * positions + p] = BigInt(target)
    })
    weights.set(record.weights, n * positions)
  })
  return {
    [TARGETS]: new runtime.Tensor('int64', targets, [records.length, positions, 1]),
    [WEIGHTS]: new runtime.Tensor('float32', weights, [records.length, 1, positions]),
  }
}

/** The feeds that a session takes, out of all there are. @throws EngineError naming an input nobody feeds. */
export function inputsOf(session: InferenceSession, feeds: Feeds): Feeds {
  return Object.fromEntries(
    session.inputNames.map((name) => {
      const feed = feeds[name]
      if (!feed)
        throw new EngineError('unsupported_graph', `the graph has an input ${name} that the engine does not know`)
      return [name, feed] as const
    }),
  )
}

/** Tensors [1, ...] of several records as one [N, ...]. */
export function stacked(runtime: Runtime, tensors: readonly Tensor[]): Tensor {
  const [first] = tensors as [Tensor]
  const { data, type, dims } = first
  const length = (data as Float32Array).length
  const values = new (data.constructor as Float32ArrayConstructor)(tensors.length * length)
  tensors.forEach((tensor, n) => {
    values.set(tensor.data as Float32Array, n * length)
  })
  return new runtime.Tensor(type as 'float32', values, [tensors.length, ...dims.slice(1)])
}
