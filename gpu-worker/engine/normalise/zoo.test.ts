import type { Tensor } from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { type ZooModel, zooModels } from '../../../test/models/zoo.ts'
import { readGraph, type Variant } from '../graph/file.ts'
import type { Graph } from '../graph/graph.ts'
import { loadRuntime } from '../ort.ts'
import { fedTensors } from './coupling.ts'
import { normalise, recordAxes, regularise } from './index.ts'
import { foldFor, largestGap, runGraph } from './run-graph.ts'

const TOKENS = 16
const runtime = await loadRuntime()

/** Every input of a model for one record, padded on the right; an empty cache. */
function feedsOf(graph: Graph, { expected }: ZooModel): Record<string, Tensor> {
  const ids = expected.records.find((record) => record.ids.length <= TOKENS)!.ids
  const each = (value: (at: number) => number): Tensor =>
    new runtime.Tensor(
      'int64',
      BigInt64Array.from({ length: TOKENS }, (_, at) => BigInt(value(at))),
      [1, TOKENS],
    )
  const feeds: Record<string, Tensor> = {
    input_ids: each((at) => ids[at] ?? expected.pad),
    attention_mask: each((at) => (at < ids.length ? 1 : 0)),
    token_type_ids: each(() => 0),
    position_ids: each((at) => at),
  }
  for (const { name, type } of graph.inputs) {
    if (!name.startsWith('past') || type?.value.case !== 'tensorType') continue
    const sizes = type.value.value.shape!.dim.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : 0))
    feeds[name] =
      type.value.value.elemType === 10
        ? new runtime.Tensor('float16', new Uint16Array(), [1, ...sizes.slice(1)])
        : new runtime.Tensor('float32', new Float32Array(), [1, ...sizes.slice(1)])
  }
  return feeds
}

/** Rows of logits of a record's own tokens; what stands at padding is nobody's. */
function ownLogits(tensor: Tensor, { expected }: ZooModel): number[] {
  const ids = expected.records.find((record) => record.ids.length <= TOKENS)!.ids
  const rows = tensor.dims.length === 3 ? ids.length : 1
  return Array.from(tensor.data as Float32Array, Number).slice(0, rows * tensor.dims.at(-1)!)
}

interface Case {
  readonly label: string
  readonly model: ZooModel
  readonly variant: Variant
}

const variantOf = (file: string): Variant => file.replace(/^model_?|\.onnx$/g, '') as Variant
const cases = zooModels().flatMap((model): Case[] =>
  ['model.onnx', ...model.expected.variants.map(({ file }) => file)].map((file) => ({
    label: `${model.name}/${file}`,
    model,
    variant: variantOf(file),
  })),
)
const isCoupled = ({ variant }: Case): boolean => variant === 'int8'
const isHalf = ({ variant }: Case): boolean => variant === 'fp16'

async function regular({ model, variant }: Case): Promise<{ graph: Graph; feeds: Record<string, Tensor> }> {
  const graph = readGraph(model.dir, variant)
  const feeds = feedsOf(graph, model)
  normalise(graph)
  await foldFor(graph, feeds)
  regularise(graph)
  return { graph, feeds }
}

describe('every model of the zoo', () => {
  it.each(cases.filter((each) => !isCoupled(each) && !isHalf(each)))('computes the same: $label', async (each) => {
    const { graph, feeds } = await regular(each)
    const [logits] = Object.values(await runGraph(graph, feeds))
    const original = readGraph(each.model.dir, each.variant)
    const { logits: expected } = await runGraph(original, feeds)
    expect(largestGap(ownLogits(logits!, each.model), ownLogits(expected!, each.model))).toBeLessThan(2e-5)
  })

  it.each(cases.filter((each) => !isCoupled(each)))('keeps records on a leading axis: $label', async (each) => {
    const { graph } = await regular(each)
    const fed = fedTensors(graph)
    const without = [...fed].filter((tensor) => graph.dims.has(tensor) && graph.dimsOf(tensor)[0] !== 1)
    expect(without).toEqual([])
    expect(recordAxes(graph).unknown).toBeUndefined()
    expect(new Set(recordAxes(graph).axes.values())).toEqual(new Set([0]))
  })

  it.each(cases.filter(isHalf))('is float32 throughout where the file is float16: $label', async (each) => {
    const { graph, feeds } = await regular(each)
    const [logits] = Object.values(await runGraph(graph, feeds))
    const whole = await regular({ ...each, variant: '' })
    const [expected] = Object.values(await runGraph(whole.graph, feeds))
    const gap = largestGap(ownLogits(logits!, each.model), ownLogits(expected!, each.model))
    // What is left is the rounding of the weights to 11 bits.
    expect(gap).toBeLessThan(0.03)
    expect(gap).toBeGreaterThan(0)
  })

  it.each(cases.filter(isCoupled))('is refused where its scales couple records: $label', ({ model, variant }) => {
    expect(() => normalise(readGraph(model.dir, variant))).toThrow(
      expect.objectContaining({ code: 'coupled_batch', message: expect.stringContaining('DynamicQuantizeLinear') }),
    )
  })
})
