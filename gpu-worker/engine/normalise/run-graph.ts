import { create } from '@bufbuild/protobuf'
import type { Tensor } from 'onnxruntime-node'
import { writeGraph } from '../graph/emit.ts'
import { fold, type ProbedValue, probeGraph } from '../graph/fold.ts'
import { Graph } from '../graph/graph.ts'
import { type NodeProto, OperatorSetIdProtoSchema, ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import { loadRuntime, SESSION_OPTIONS } from '../ort.ts'
import { type AttributeValue, makeNode } from './node.ts'

/** Small graphs, and runs of any graph, for the tests of rewrites: what a rewrite leaves must compute the same. */

/** `domain:Op`, its inputs and outputs, its attributes. */
export type NodeSketch = readonly [string, readonly string[], readonly string[], Record<string, AttributeValue>?]

export interface GraphSketch {
  /** Values of each input; its element type and shape are theirs. */
  readonly nodes: readonly NodeSketch[]
  readonly floats?: Readonly<Record<string, readonly [readonly number[], readonly number[]]>>
  readonly ints?: Readonly<Record<string, readonly number[]>>
  /** int64 without axes. */
  readonly scalars?: Readonly<Record<string, number>>
  readonly inputs: Readonly<Record<string, { readonly type: number; readonly dims: readonly (number | string)[] }>>
  readonly outputs: readonly string[]
  readonly opset?: number
}

function sketchedNode([operator, input, output, attributes]: NodeSketch, at: number): NodeProto {
  const [domain, op] = operator.includes(':') ? (operator.split(':') as [string, string]) : ['', operator]
  const made = attributes ? { name: `node${at}`, attributes } : { name: `node${at}` }
  const node = makeNode(op, input, output, made)
  node.domain = domain
  return node
}

export function sketchGraph(sketch: GraphSketch): Graph {
  const graph = new Graph()
  const opsets = { '': sketch.opset ?? 21, 'com.microsoft': 1 }
  graph.irVersion = 10n
  graph.opsets = Object.entries(opsets).map(([domain, version]) =>
    create(OperatorSetIdProtoSchema, { domain, version: BigInt(version) }),
  )
  for (const [name, [dims, values]] of Object.entries(sketch.floats ?? {}))
    graph.addFloats(name, dims, Float32Array.from(values))
  for (const [name, values] of Object.entries(sketch.ints ?? {})) graph.addInts(name, values)
  for (const [name, value] of Object.entries(sketch.scalars ?? {})) graph.addInts(name, [value], [])
  graph.nodes = sketch.nodes.map(sketchedNode)
  graph.inputs = Object.entries(sketch.inputs).map(([name, { type: elemType, dims }]) =>
    create(ValueInfoProtoSchema, {
      name,
      type: {
        value: {
          case: 'tensorType',
          value: {
            elemType,
            shape: {
              dim: dims.map((size) => ({
                value:
                  typeof size === 'number'
                    ? { case: 'dimValue' as const, value: BigInt(size) }
                    : { case: 'dimParam' as const, value: size },
              })),
            },
          },
        },
      },
    }),
  )
  graph.outputs = sketch.outputs.map((name) => create(ValueInfoProtoSchema, { name }))
  return graph
}

/** Runs a graph as it stands, nothing optimised. */
export async function runGraph(graph: Graph, feeds: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
  const runtime = await loadRuntime()
  const written = writeGraph(graph)
  try {
    const options = { ...SESSION_OPTIONS, graphOptimizationLevel: 'disabled' as const }
    const session = await runtime.InferenceSession.create(written.path, options)
    const needed = Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!]))
    const outputs = (await session.run(needed)) as Record<string, Tensor>
    await session.release()
    return outputs
  } finally {
    written.remove()
  }
}

/** Folds a graph for the shapes of these feeds. */
export async function foldFor(graph: Graph, feeds: Readonly<Record<string, Tensor>>): Promise<void> {
  const outputs = await runGraph(probeGraph(graph), feeds)
  fold(graph, new Map(Object.entries(outputs)) as unknown as Map<string, ProbedValue>)
}

/** Largest difference between two lists of numbers of the same length; NaN where one holds it. */
export const largestGap = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) return Number.NaN
  return Array.from(a).reduce((gap, value, at) => {
    const here = Math.abs(value - b[at]!)
    return here <= gap ? gap : here
  }, 0)
}
