import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { EngineError } from './error.ts'
import { modelFile, readGraph, type Variant } from './graph/file.ts'
import type { Graph } from './graph/graph.ts'
import { findHead } from './graph/head.ts'
import { findHiddenStates } from './graph/hidden.ts'
import { productsOf } from './graph/products.ts'
import { findSites, type Site } from './graph/sites.ts'
import { dimsOf, elementCount, fileLength, placeOf } from './graph/tensor.ts'
import { findWeights, type Weight } from './graph/weights.ts'
import { normalise, opsetOf } from './normalise/index.ts'
import { TensorProto_DataType as DataType, type TensorProto } from './onnx/onnx_pb.ts'

export interface ModelSite {
  readonly name: string
  /** Width of the input of W. */
  readonly inputs: number
  /** Width of the output; of q, k and v together where they share one factor. */
  readonly outputs: number
}

/** What a head makes logits of. */
export type ModelTask = 'prompt-classification' | 'sequence-classification' | 'causal-lm'

export interface ModelInspection {
  /** Places of the `lora` space, in the order of the forward pass. */
  readonly sites: readonly ModelSite[]
  /** Names of the sites with a quantised W: side branches, but no merging and no singular bases. */
  readonly quantisedSites: readonly string[]
  /** Tensors of the `full` and `pruned` spaces, in the order of the forward pass. */
  readonly weights: readonly Weight[]
  /** What a statistic can be of, in the order of the forward pass: what each layer leaves to the next. */
  readonly activations: readonly { readonly name: string; readonly size: number }[]
  /** Width of the hidden states that the head reads; undefined where the head is no single product. */
  readonly hidden: number | undefined
  readonly layers: number
  /** Tokens of the head; undefined for a classifier. */
  readonly vocabulary: number | undefined
  /** Classes of the head; undefined for a language model. */
  readonly classes: number | undefined
  /** Tasks that the head fits. */
  readonly tasks: readonly ModelTask[]
  /** `model_type` of config.json. */
  readonly architecture: string | undefined
  /** Most tokens of a record, as config.json says. */
  readonly positions: number | undefined
  /** Path of the model file within its folder. */
  readonly file: string
  readonly exporter: string
  readonly opset: number
  readonly bytes: {
    /** Of the model file, weights within it included. */
    readonly graph: number
    /** Of the data files beside it. */
    readonly data: number
    /** Of all weights while the model runs, for each evaluating thread: float16 is widened. */
    readonly weights: number
  }
  /** Numbers in all weights, those of quantised matrices included. */
  readonly parameters: number
  readonly precision: 'float32' | 'float16' | 'int8' | 'int4'
  /** How weights or activations are quantised, in words; undefined where they are not. */
  readonly quantisation: string | undefined
}

/** What config.json says of interest; every field may be missing or of another kind. */
interface Config {
  readonly model_type?: unknown
  readonly architectures?: unknown
  readonly vocab_size?: unknown
  readonly max_position_embeddings?: unknown
  readonly n_positions?: unknown
}

function readConfig(modelDir: string): Config {
  const path = join(modelDir, 'config.json')
  if (!existsSync(path)) return {}
  try {
    const config: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return typeof config === 'object' && config !== null ? config : {}
  } catch (cause) {
    throw new EngineError('malformed_model', 'config.json is no JSON: copy it again', { cause })
  }
}

const asNumber = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)
const asText = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

/** Width of the logits: of the last product, else of the last product anywhere. */
function logitsWidth(graph: Graph): number | undefined {
  return findHead(graph)?.product.outputs ?? productsOf(graph).at(-1)?.outputs
}

/** Which tasks the head fits, by its width and the name that the library gave the model. */
function tasksOf(config: Config, width: number | undefined): readonly ModelTask[] {
  const name = Array.isArray(config.architectures) ? (asText(config.architectures[0]) ?? '') : ''
  if (/ForSequenceClassification$/.test(name)) return ['sequence-classification']
  if (/ForMaskedLM$|ForPreTraining$/.test(name)) return ['prompt-classification']
  if (/ForCausalLM$|LMHeadModel$/.test(name)) return ['causal-lm']
  const vocabulary = asNumber(config.vocab_size)
  if (width === undefined || vocabulary === undefined) return []
  return width >= vocabulary ? ['prompt-classification', 'causal-lm'] : ['sequence-classification']
}

/** Bits of one stored number, by element type. */
const BITS: Readonly<Record<number, number>> = {
  [DataType.FLOAT]: 32,
  [DataType.FLOAT16]: 16,
  [DataType.INT8]: 8,
  [DataType.UINT8]: 8,
  [DataType.INT4]: 4,
  [DataType.UINT4]: 4,
}

/** A constant of more numbers than this is a weight, not a size or an index. */
const SMALL = 64
const isWeight = (tensor: TensorProto): boolean => tensor.dataType in BITS && elementCount(dimsOf(tensor)) > SMALL

interface Quantised {
  readonly precision: 'int8' | 'int4'
  readonly words: string
}

/** How a graph is quantised, by its operators. */
function quantised(graph: Graph): Quantised | undefined {
  const packed = graph.nodes.find(({ opType }) => opType === 'MatMulNBits')
  const bits = Number(packed?.attribute.find(({ name }) => name === 'bits')?.i ?? 4n)
  const block = Number(packed?.attribute.find(({ name }) => name === 'block_size')?.i ?? 0n)
  if (packed)
    return { precision: bits <= 4 ? 'int4' : 'int8', words: `weights alone, ${bits} bits in blocks of ${block}` }
  const expanded = graph.nodes.filter(
    ({ opType, input }) => opType === 'DequantizeLinear' && graph.constants.has(input[0]!),
  )
  if (expanded.length === 0) return undefined
  const isFour = expanded.some(({ input }) => BITS[graph.constants.get(input[0]!)!.dataType] === 4)
  const precision = isFour ? 'int4' : 'int8'
  const isStatic = graph.nodes.some(({ opType }) => opType === 'QuantizeLinear')
  const words = isStatic ? 'weights and activations, with scales fixed in the file' : 'weights alone'
  return { precision, words: `${words}, ${isFour ? 4 : 8} bits` }
}

/** Numbers in the float weights, and in the quantised matrices, which hold several to a byte. */
function parametersOf(graph: Graph, weights: readonly Weight[]): number {
  const packed = productsOf(graph).flatMap(({ weight, isFloat, inputs, outputs }) =>
    isFloat ? [] : [[weight.name, inputs * outputs] as const],
  )
  const whole = weights.reduce((sum, { parameters }) => sum + parameters, 0)
  return [...new Map(packed).values()].reduce((sum, count) => sum + count, whole)
}

/** Bytes of all weights in memory. Tables that rows are picked from stay half as wide as the file has them. */
function weightBytes(graph: Graph): number {
  const widened = new Set(graph.nodes.flatMap(({ opType, input }) => (opType === 'Cast' ? input : [])))
  return [...graph.constants].reduce((sum, [name, tensor]) => {
    if (!isWeight(tensor)) return sum
    const bits = widened.has(name) ? 32 : BITS[tensor.dataType]!
    return sum + (elementCount(dimsOf(tensor)) * bits) / 8
  }, 0)
}

function fileBytes(graph: Graph, path: string): { graph: number; data: number } {
  const places = [...graph.constants.values()].flatMap((tensor) => placeOf(tensor)?.path ?? [])
  const beside = new Set(places.filter((each) => each !== path))
  return { graph: fileLength(path), data: [...beside].reduce((sum, each) => sum + fileLength(each), 0) }
}

function precisionOf(graph: Graph): 'float32' | 'float16' {
  const weights = [...graph.constants.values()].filter(isWeight)
  return weights.some(({ dataType }) => dataType === DataType.FLOAT16) ? 'float16' : 'float32'
}

const shapeOf = ({ name, inputs, outputs }: Site): ModelSite => ({ name, inputs, outputs })

/**
 * Says what a model folder holds and what can be trained in it: reads the graph, not the weights.
 * @example (await inspectModel('models/encoder')).sites.map((site) => site.name)
 * @throws EngineError `missing_model_file`, `malformed_model`, `coupled_batch`, or `unsupported_graph` naming the node.
 */
export async function inspectModel(modelDir: string, options: { variant?: Variant } = {}): Promise<ModelInspection> {
  const file = modelFile(modelDir, options.variant)
  const graph = readGraph(modelDir, options.variant)
  const written = { exporter: graph.producer, opset: opsetOf(graph), precision: precisionOf(graph) }
  const bytes = fileBytes(graph, resolve(modelDir, file))
  normalise(graph)
  const config = readConfig(modelDir)
  const head = findHead(graph)
  const sites = findSites(graph, head?.product.node)
  const width = logitsWidth(graph)
  const tasks = tasksOf(config, width)
  const isClassifier = tasks.length === 1 && tasks[0] === 'sequence-classification'
  const reduced = quantised(graph)
  const weights = findWeights(graph)
  return {
    sites: sites.map(shapeOf),
    quantisedSites: sites.filter(({ products }) => products.some(({ isFloat }) => !isFloat)).map(({ name }) => name),
    weights,
    activations: findHiddenStates(graph).map(({ name, size }) => ({ name, size })),
    hidden: head?.product.inputs,
    layers: new Set(sites.flatMap(({ name }) => /^layer\.(\d+)\./.exec(name)?.[1] ?? [])).size,
    vocabulary: isClassifier ? undefined : width,
    classes: isClassifier ? width : undefined,
    tasks,
    architecture: asText(config.model_type),
    positions: asNumber(config.max_position_embeddings) ?? asNumber(config.n_positions),
    file,
    ...written,
    bytes: { ...bytes, weights: weightBytes(graph) },
    parameters: parametersOf(graph, weights),
    precision: reduced?.precision ?? written.precision,
    quantisation: reduced?.words,
  }
}
