import { join } from 'node:path'
import { demoSpace, encodeMails, openDemoEngine } from '../../demo/evaluate.ts'
import { splitMail } from '../../demo/mail/index.ts'
import { MODEL_FOLDER } from '../../demo/settings.ts'
import { loadRuntime, SESSION_OPTIONS } from '../../gpu-worker/engine/ort.ts'
import { spaceDimension } from '../../shared/zo/index.ts'
import { median } from './median.ts'

const RECORDS = 64
const REPEATS = 5
/** Sequences in one call of plain inference: the best of a few sizes on a CPU. */
const PLAIN_BATCH = 16

/**
 * One round's forwards (K directions x 2 signs of every record) against plain inference of as many sequences through the
 * model as exported, one thread each, alternating within one process.
 */
export async function engine(): Promise<void> {
  const space = await demoSpace()
  const subject = await openDemoEngine(space, '0123456789abcdef', 1)
  const { mailboxes } = await splitMail()
  const encoded = encodeMails(subject, mailboxes.north.slice(0, 600))
  const longest = Math.max(...encoded.map((record) => record.encoded.bucket))
  const records = encoded.filter((record) => record.encoded.bucket === longest).slice(0, RECORDS)
  const plainSecondsPerSequence = await plainInference(longest)
  console.log(`${records.length} records of ${longest} tokens, d = ${spaceDimension(space)}\n`)
  console.log('| K | sequences | seconds of a round | of plain inference | ratio |')
  console.log('| ---: | ---: | ---: | ---: | ---: |')
  for (const directions of [4, 16, 32]) {
    const groups = Array.from({ length: 2 * directions }, (_, group) =>
      new Float32Array(spaceDimension(space)).fill(0.001 * group),
    )
    await subject.losses(records, groups)
    const ratios: number[] = []
    const times: number[] = []
    for (let i = 0; i < REPEATS; i++) {
      const plain = (await plainSecondsPerSequence()) * records.length * groups.length
      const started = performance.now()
      await subject.losses(records, groups)
      const round = (performance.now() - started) / 1000
      ratios.push(round / plain)
      times.push(round)
    }
    const ratio = median(ratios)
    const seconds = median(times)
    console.log(
      `| ${directions} | ${records.length * groups.length} | ${seconds.toFixed(3)} | ${(seconds / ratio).toFixed(3)} | ${ratio.toFixed(3)} |`,
    )
  }
  await subject.close()
}

async function plainInference(tokens: number): Promise<() => Promise<number>> {
  const ort = await loadRuntime()
  const session = await ort.InferenceSession.create(join(MODEL_FOLDER, 'onnx/model.onnx'), SESSION_OPTIONS)
  const shape = [PLAIN_BATCH, tokens]
  const filled = (value: bigint) => new ort.Tensor('int64', new BigInt64Array(PLAIN_BATCH * tokens).fill(value), shape)
  const known: Record<string, bigint> = { input_ids: 100n, attention_mask: 1n, token_type_ids: 0n }
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, filled(known[name] ?? 0n)]))
  await session.run(feeds)
  return async () => {
    const started = performance.now()
    for (let i = 0; i < 4; i++) await session.run(feeds)
    return (performance.now() - started) / 1000 / (4 * PLAIN_BATCH)
  }
}
