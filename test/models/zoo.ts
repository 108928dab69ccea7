import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type ZooTask = 'masked-lm' | 'sequence-classification' | 'causal-lm'

/** One line as token ids, and what PyTorch makes of it. */
export interface ZooRecord {
  /** No padding. */
  readonly ids: readonly number[]
  /** Length it is padded to on the right, with an attention mask. */
  readonly bucket: number
  /** Rows of the output that count; of a classification head [0], as it has one row. */
  readonly positions: readonly number[]
  /** Token or class at each position. */
  readonly targets: readonly number[]
  /** Of each position's cross-entropy; they sum to 1. */
  readonly weights: readonly number[]
  /** Cross-entropy over the whole row of logits, weighted: a float32 model, the rest in float64. */
  readonly loss: number
  /** Masked language models: cross-entropy over the two `labelTokens` alone. */
  readonly labelLoss?: number
}

/**
 * Losses of the records with one weight W moved to W + step E and W - step E, E[i, j] = ((31 i + 17 j) mod 7 - 3) / 3
 * with W as [inputs, outputs]; of a table of tokens as [vocabulary, hidden], and a tied head moves with it.
 */
export interface ZooMove {
  /** The module's path in the library, such as `bert.encoder.layer.0.output.dense`. */
  readonly module: string
  readonly inputs: number
  readonly outputs: number
  /** Constants of `model.onnx` that hold W (two where a tied table was stored twice), and the nodes that read them. */
  readonly stored: readonly {
    readonly tensor: string
    readonly transposed: boolean
    readonly nodes: readonly string[]
  }[]
  readonly plus: readonly number[]
  readonly minus: readonly number[]
}

/** Another graph of the same model, beside `model.onnx`. */
export interface ZooVariant {
  readonly kind: 'fp16' | 'int8' | 'int8_weights' | 'int8_static' | 'q4' | 'fused'
  /** Such as `model_q4.onnx`, in the folder `onnx`. */
  readonly file: string
  /**
   * Losses of this graph as written (no optimization), by onnxruntime with one record a call: those of `int8` depend on
   * the batch. Optimized, the same to 1e-5 for `int8_weights`, `q4` and `fused`, to 0.01 for `fp16`, near for the rest.
   */
  readonly losses: readonly number[]
}

export interface ZooText {
  readonly text: string
  /** With the special tokens around it. */
  readonly ids: readonly number[]
  /** Without them; names of special tokens in the text are still read as such. */
  readonly bare: readonly number[]
}

/** A conversation by the model's chat template. */
export interface ZooChat {
  readonly messages: readonly { readonly role: string; readonly content: string }[]
  /** All but the last message, and the start of an answer. */
  readonly prompt: string
  readonly whole: string
}

export interface ZooExpected {
  /** Token to pad with. */
  readonly pad: number
  /** The graph's inputs but those of the KV cache. */
  readonly inputs: readonly string[]
  readonly records: readonly ZooRecord[]
  /** Masked language models: two tokens that stand for labels. */
  readonly labelTokens?: readonly [number, number]
  readonly step: number
  readonly moved: readonly ZooMove[]
  /** Whether the head is the table of tokens. */
  readonly tied: boolean
  readonly variants: readonly ZooVariant[]
  /** As Python's tokenizers encode them. */
  readonly texts: readonly ZooText[]
  /** Decoders. */
  readonly chat?: ZooChat
}

interface ZooEntry {
  readonly name: string
  readonly architecture: 'bert' | 'roberta' | 'distilbert' | 'gpt2' | 'opt' | 'llama' | 'qwen2' | 'qwen3'
  readonly task: ZooTask
  readonly exporter: 'legacy' | 'dynamo' | 'optimum'
  readonly opset: number
  /** How the library computed attention when the graph was made. */
  readonly attention: 'eager' | 'sdpa'
  /** Whether the graph takes and gives a KV cache. */
  readonly past: boolean
  /** File of the weights where they are not in the graph's own. */
  readonly external: string | null
}

export interface ZooModel extends ZooEntry {
  /** Folder in Hugging Face layout: config.json, tokenizer.json, tokenizer_config.json, onnx/model.onnx. */
  readonly dir: string
  readonly expected: ZooExpected
}

const ZOO = fileURLToPath(new URL('zoo/', import.meta.url))

function readJson<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(ZOO, ...path), 'utf8')) as T
}

/** Tiny models with random weights made by PyTorch (see README.md), and the losses that PyTorch gives for them. */
export function zooModels(): ZooModel[] {
  return readJson<ZooEntry[]>('zoo.json').map((entry) => ({
    ...entry,
    dir: join(ZOO, entry.name),
    expected: readJson<ZooExpected>(entry.name, 'expected.json'),
  }))
}
