import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EncodedRecord, inspectModel } from '../../../gpu-worker/engine/index.ts'
import type { Task } from '../../../shared/api/task.ts'
import type { FullSpace, LoraSpace } from '../../../shared/zo/index.ts'
import { writeEncoder } from '../../models/build/index.ts'

/** What is measured: an encoder of MiniLM's size with random weights, and spaces over it. */

/** MiniLM: 22.7 million parameters, 10.6 million of them in the layers' products. */
export const MINILM = {
  layers: 6,
  hidden: 384,
  heads: 12,
  intermediate: 1536,
  vocabulary: 30_522,
  positions: 512,
  classes: 2,
  seed: 1,
} as const

export const SEED = '0123456789abcdef'

/** The encoder's folder, written once for all benchmarks of this machine. */
export function encoderFolder(): string {
  const size = Object.values(MINILM).join('-')
  const dir = join(tmpdir(), `sotto-bench-models`, `encoder-${size}`)
  if (existsSync(dir)) return dir
  // Written beside and renamed, so that a run that was stopped leaves no half model.
  const unfinished = `${dir}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  writeEncoder(unfinished, MINILM)
  try {
    renameSync(unfinished, dir)
  } catch (error) {
    if (!existsSync(dir)) throw error
    rmSync(unfinished, { recursive: true })
  }
  return dir
}

/** Two classes; every record fills its bucket. */
export const taskOf = (tokens: number): Task => ({
  kind: 'sequence-classification',
  labels: { no: 0, yes: 1 },
  maxTokens: tokens,
  buckets: [tokens],
})

/** Records of random words, [CLS] first, without padding. Token ids from a linear congruence: the same in every run. */
export function recordsOf(count: number, tokens: number): EncodedRecord[] {
  let state = 12_345
  const word = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return 1000 + (state % 20_000)
  }
  return Array.from({ length: count }, (_, n) => ({
    ids: Int32Array.from({ length: tokens }, (_, at) => (at === 0 ? 2 : word())),
    bucket: tokens,
    positions: Int32Array.of(0),
    targets: Int32Array.of(n % MINILM.classes),
    weights: Float32Array.of(1),
  }))
}

/** Scale at which a factor of ones and minus ones changes a weight about as much as the weight is. */
const scaleOf = (inputs: number, rank: number): number => 1 / Math.sqrt(inputs * rank)

/** Factors at every product of the layers from `firstLayer` on. */
export async function loraSpace(
  dir: string,
  { rank, firstLayer }: { rank: number; firstLayer: number },
): Promise<LoraSpace> {
  const { sites } = await inspectModel(dir)
  const chosen = sites.filter(({ name }) => Number(/^layer\.(\d+)\./.exec(name)?.[1] ?? -1) >= firstLayer)
  return {
    kind: 'lora',
    trained: 'factor',
    rank,
    sites: chosen.map((site) => ({ ...site, scale: scaleOf(site.inputs, rank) })),
  }
}

/** Every weight of the model, embeddings, biases and norms with it. */
export async function fullSpace(dir: string): Promise<FullSpace> {
  const { weights } = await inspectModel(dir)
  const tensors = weights.map(({ name, shape }) => ({ name, shape }))
  return { kind: 'full', directions: { kind: 'dense' }, tensors }
}
