import { join } from 'node:path'
import type { EncodedRecord } from '../../../gpu-worker/engine/index.ts'
import { loadRuntime, SESSION_OPTIONS } from '../../../gpu-worker/engine/ort.ts'

/** Pure inference: the exported graph as it is, in a session with the engine's own options, logits out. */
export interface PlainModel {
  /** Runs `calls` calls of `members` sequences each, made of the records in turn. */
  run(calls: number, members: number): Promise<void>
  release(): Promise<void>
}

export async function openPlain(dir: string, records: readonly EncodedRecord[]): Promise<PlainModel> {
  const runtime = await loadRuntime()
  const session = await runtime.InferenceSession.create(join(dir, 'onnx', 'model.onnx'), SESSION_OPTIONS)
  const tokens = records[0]!.bucket
  const batch = (from: number, members: number) => {
    const ids = new BigInt64Array(members * tokens)
    for (let n = 0; n < members; n++) {
      const { ids: own } = records[(from + n) % records.length]!
      own.forEach((id, at) => {
        ids[n * tokens + at] = BigInt(id)
      })
    }
    const tensor = (values: BigInt64Array) => new runtime.Tensor('int64', values, [members, tokens])
    const all: Record<string, InstanceType<typeof runtime.Tensor>> = {
      input_ids: tensor(ids),
      attention_mask: tensor(new BigInt64Array(ids.length).fill(1n)),
      token_type_ids: tensor(new BigInt64Array(ids.length)),
    }
    return Object.fromEntries(session.inputNames.map((name) => [name, all[name]!]))
  }
  return {
    async run(calls, members) {
      for (let call = 0; call < calls; call++) await session.run(batch(call * members, members), ['logits'])
    },
    release: () => session.release(),
  }
}
