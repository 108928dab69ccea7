import { create } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { zooModels } from '../../../test/models/zoo.ts'
import { tokenFeeds } from '../evaluate/feeds.ts'
import { normalise } from '../normalise/index.ts'
import { largestGap, runGraph } from '../normalise/run-graph.ts'
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import { loadRuntime } from '../ort.ts'
import { readGraph } from './file.ts'
import type { Graph } from './graph.ts'
import { findHead } from './head.ts'
import { findHiddenStates } from './hidden.ts'
import { findSites } from './sites.ts'

const runtime = await loadRuntime()
const TOKENS = 6

function normalised(dir: string): Graph {
  const graph = readGraph(dir)
  normalise(graph)
  return graph
}

/** Values of tensors within a graph, for one record. */
async function valuesOf(graph: Graph, tensors: readonly string[]): Promise<Float32Array[]> {
  const work = graph.clone()
  work.outputs = tensors.map((name) => create(ValueInfoProtoSchema, { name }))
  work.tidy()
  const read = new Set(work.nodes.flatMap(({ input }) => input))
  work.inputs = work.inputs.filter(({ name }) => read.has(name))
  const record = { ids: Int32Array.from([5, 9, 3, 7, 11]), bucket: TOKENS }
  const none = { positions: new Int32Array(), targets: new Int32Array(), weights: new Float32Array() }
  const positions = new runtime.Tensor(
    'int64',
    BigInt64Array.from({ length: TOKENS }, (_, at) => BigInt(at)),
    [1, TOKENS],
  )
  const made = await runGraph(work, { ...tokenFeeds(runtime, { ...record, ...none }, 0), position_ids: positions })
  return tensors.map((name) => made[name]!.data as Float32Array)
}

describe('what layers leave', () => {
  const models = zooModels()
  it.each(models.map(({ name, dir }) => [name, dir] as const))('is found in every layer of %s', (_, dir) => {
    const found = findHiddenStates(normalised(dir))
    expect(found.map(({ name, size }) => [name, size])).toEqual([
      ['layer.0', 32],
      ['layer.1', 32],
    ])
  })

  // Without biases the second layer adds the outputs of its two last products, and nothing else.
  const plain = models.filter(({ name }) => /^(llama|qwen)/.test(name))
  it.each(plain.map(({ name, dir }) => [name, dir] as const))(
    'is the sum that runs through the layers of %s',
    async (_, dir) => {
      const graph = normalised(dir)
      const outputs = new Map(
        findSites(graph, findHead(graph)?.product.node).map(({ name, products }) => [
          name,
          products[0]!.node.output[0]!,
        ]),
      )
      const [first, second] = findHiddenStates(graph)
      const added = ['layer.1.attention.output', 'layer.1.ffn.down'].map((site) => outputs.get(site)!)
      const [before, after, attention, feedForward] = await valuesOf(graph, [first!.tensor, second!.tensor, ...added])
      expect(before).toHaveLength(TOKENS * 32)
      const sum = before!.map((value, i) => value + attention![i]! + feedForward![i]!)
      expect(largestGap(after!, sum)).toBeLessThan(1e-5)
      expect(largestGap(after!, before!)).toBeGreaterThan(1e-3)
    },
  )
})
