import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { floatTensor, intTensor } from '../../gpu-worker/engine/graph/tensor.ts'
import { type AttributeValue, makeNode } from '../../gpu-worker/engine/normalise/node.ts'
import { type GraphProto, ModelProtoSchema } from '../../gpu-worker/engine/onnx/onnx_pb.ts'

/** The demo's encoder with nodes put into it: models that somebody could bring. */
const BASE = fileURLToPath(new URL('../../demo/model/spam-encoder', import.meta.url))
/** The hidden states [N, T, 128] behind the last layer but one. */
const HIDDEN = '/LayerNorm_6/LayerNormalization_output_0'
export const WIDTH = 128

const root = mkdtempSync(join(tmpdir(), 'sotto-inserted-'))
process.once('exit', () => rmSync(root, { recursive: true, force: true }))
let copies = 0

export interface Insertion {
  /** Operator, inputs, outputs and attributes; `h` is the hidden states, `y` what takes their place. */
  readonly nodes: readonly (readonly [
    string,
    readonly string[],
    readonly string[],
    Readonly<Record<string, AttributeValue>>?,
  ])[]
  /** int64 constants, a number without axes. */
  readonly ints?: Readonly<Record<string, readonly number[] | number>>
  readonly floats?: Readonly<Record<string, readonly [readonly number[], readonly number[]]>>
  /** Name of each node put in; default `inserted` and its place. */
  readonly name?: (at: number) => string
}

/** A copy of the encoder, changed. @returns its folder. */
export function changedEncoder(change: (graph: GraphProto) => void): string {
  const dir = join(root, String(copies++))
  cpSync(BASE, dir, { recursive: true })
  const path = join(dir, 'onnx', 'model.onnx')
  const model = fromBinary(ModelProtoSchema, readFileSync(path))
  change(model.graph!)
  writeFileSync(path, toBinary(ModelProtoSchema, model))
  return dir
}

/** The encoder with these nodes behind its hidden states. @returns its folder. */
export function insertedInto({ nodes, ints = {}, floats = {}, name = (at) => `inserted${at}` }: Insertion): string {
  return changedEncoder((graph) => {
    const at = graph.node.findIndex(({ output }) => output.includes(HIDDEN))
    for (const node of graph.node.slice(at + 1))
      node.input = node.input.map((input) => (input === HIDDEN ? 'y' : input))
    const made = nodes.map(([operator, input, output, attributes = {}], index) =>
      makeNode(
        operator,
        input.map((each) => (each === 'h' ? HIDDEN : each)),
        output,
        {
          name: name(index),
          attributes,
        },
      ),
    )
    graph.node.splice(at + 1, 0, ...made)
    for (const [constant, values] of Object.entries(ints))
      graph.initializer.push(
        typeof values === 'number' ? intTensor(constant, [values], []) : intTensor(constant, [...values]),
      )
    for (const [constant, [dims, values]] of Object.entries(floats))
      graph.initializer.push(floatTensor(constant, dims, Float32Array.from(values)))
  })
}

/** A weight before the place where nodes are put in. */
export const TRAINED = { name: 'bert.encoder.layer.1.output.LayerNorm.weight', shape: [WIDTH] } as const
