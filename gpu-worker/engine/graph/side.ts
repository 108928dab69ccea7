import { TensorProto_DataType as DataType } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { biasAdd, matrixOf, type Product } from './products.ts'
import type { Site } from './sites.ts'
import { placeOf } from './tensor.ts'

/**
 * Side branches: y = x W becomes x W + (x A) (scale V), with V constant for a stage and A an input for each group.
 *
 * Where the tail runs groups, the leading dimension of a tensor that depends on A is their number G; all else belongs to one
 * record and keeps a leading 1, so that numpy broadcasting joins the two. Dimensions noted in the graph are those of one.
 */

/** How the factors of a site are laid out as an input. */
export interface FactorInput {
  readonly name: string
  /** Index of the site in the space. */
  readonly site: number
  /**
   * `wide`: [inputs, G * rank], for an input x that is the same for all groups: one product serves all of them.
   * `stacked`: [G, inputs, rank], for an x that differs by group.
   * `plain`: [inputs, rank], one group for a whole call.
   */
  readonly layout: Layout
}

export type Layout = 'wide' | 'stacked' | 'plain'

/** A sum base + projection (scale V) in which only the projection differs by group. */
export interface SideSum {
  readonly sum: string
  readonly base: string
  /** t = x A, [G, T, rank]. */
  readonly projection: string
  /** Constant scale V, [rank, outputs]. */
  readonly factor: string
  readonly rank: number
}

/** Name of a node written for groups, whose leading dimension need not be the groups. */
export const acrossGroups = (owner: string, part: string): string => `${owner}.across_groups.${part}`
export const isAcrossGroups = (name: string): boolean => name.includes('.across_groups.')

/** scale * V of each product of a site: row-major [rank, outputs of the product]. */
export function scaledFactors(
  site: Site,
  frozen: Pick<Frozen, 'values' | 'rank' | 'scale'>,
): Float32Array<ArrayBuffer>[] {
  let start = 0
  return site.products.map(({ outputs }) => {
    const part = new Float32Array(frozen.rank * outputs)
    for (let r = 0; r < frozen.rank; r++)
      for (let o = 0; o < outputs; o++)
        part[r * outputs + o] = frozen.scale * frozen.values[r * site.outputs + start + o]!
    start += outputs
    return part
  })
}

/** t = x A for an x shared by the groups: [1, T, inputs] -> [G, T, rank], through one product [T, inputs] x [inputs, G rank]. */
function sharedProjection(graph: Graph, x: string, factor: string, rank: number): string {
  const [, tokens] = graph.dimsOf(x) as [number, number]
  const wide = graph.add('MatMul', [x, factor], { name: acrossGroups(factor, 'wide'), dims: [1, tokens, rank] })
  const shape = graph.addInts(`${factor}.shape`, [tokens, -1, rank])
  const split = graph.add('Reshape', [wide, shape], { name: acrossGroups(factor, 'split'), dims: [tokens, 1, rank] })
  return graph.add('Transpose', [split], {
    name: acrossGroups(factor, 'projection'),
    dims: [1, tokens, rank],
    attributes: { perm: [1, 0, 2] },
  })
}

/** The factor V of a site, frozen for a stage: row-major [rank, outputs of the site]. */
export interface Frozen {
  /** Index of the site in the space. */
  readonly index: number
  readonly values: ArrayLike<number>
  readonly rank: number
  readonly scale: number
  /** Finished stages, for products whose weights stay as they are. */
  readonly earlier: readonly EarlierFactor[]
}

/** The product A V of a finished stage, before its scale; the rank is its own. */
export interface EarlierFactor {
  /** Row-major [inputs, rank]. */
  readonly factor: Float32Array
  readonly values: ArrayLike<number>
  readonly rank: number
  readonly scale: number
}

/** Adds t (scale V) to the product, after its bias, so that what does not depend on a group stays out of the tail. */
function addSide(
  graph: Graph,
  product: Product,
  part: { t: string; values: Float32Array; rank: number; name: string },
): SideSum {
  const target = (biasAdd(graph, graph.consumers(), product) ?? product.node).output[0]!
  const readers = graph.nodes.filter((node) => node.input.includes(target))
  const dims = graph.dimsOf(target)
  const factor = graph.addFloats(`${part.name}.v`, [part.rank, product.outputs], part.values)
  const side = graph.add('MatMul', [part.t, factor], { name: `${part.name}.side`, dims })
  const sum = graph.add('Add', [target, side], { name: `${part.name}.sum`, dims })
  for (const reader of readers) reader.input = reader.input.map((input) => (input === target ? sum : input))
  return { sum, base: target, projection: part.t, factor, rank: part.rank }
}

/** [W; scale V] as one constant [inputs + rank, outputs]. @returns its name. */
function stackedMatrix(
  graph: Graph,
  product: Product,
  part: { values: Float32Array; rank: number; name: string },
): string {
  const name = `${part.name}.stacked`
  const dims = [product.inputs + part.rank, product.outputs]
  const above = placeOf(product.weight)
  // A weight that lies in its file as it is needed is not brought into memory for this.
  if (above && !product.transposed && product.weight.dataType === DataType.FLOAT)
    return graph.addBelow(name, dims, { above, below: part.values })
  const weight = matrixOf(product)
  const stacked = new Float32Array(weight.length + part.values.length)
  stacked.set(weight)
  stacked.set(part.values, weight.length)
  return graph.addFloats(name, dims, stacked)
}

/** Reads [x | x A] with [W; scale V]: no pass over the outputs, where those are the wider side. */
function concatenate(
  graph: Graph,
  product: Product,
  part: { joined: string; values: Float32Array; rank: number; name: string },
): void {
  product.node.input = [part.joined, stackedMatrix(graph, product, part)]
}

/** Above this a second copy of W costs more memory than a pass over the outputs costs time. */
const MOST_JOINED_BYTES = 2 ** 24

/** Whether [x | x A] [W; scale V] is the better form: the outputs are the wider side, and W may be written anew. */
function isJoined({ inputs, outputs, products }: Site): boolean {
  const isSmall = products.every((product) => 4 * product.inputs * product.outputs <= MOST_JOINED_BYTES)
  return inputs <= outputs && isSmall && products.every(({ node, stays }) => !stays && node.opType === 'MatMul')
}

/** t = x A, and [x | t] where that is what the products read. */
function projections(
  graph: Graph,
  site: Site,
  made: { name: string; factor: string; rank: number; layout: Layout },
): { t: string; joined: string | undefined } {
  const x = site.products[0]!.input
  const dims = graph.dimsOf(x)
  const last = (width: number): number[] => [...dims.slice(0, -1), width]
  if (made.layout === 'wide') return { t: sharedProjection(graph, x, made.factor, made.rank), joined: undefined }
  const t = graph.add('MatMul', [x, made.factor], { name: `${made.name}.projection`, dims: last(made.rank) })
  if (!isJoined(site)) return { t, joined: undefined }
  const attributes = { axis: -1 }
  const width = site.inputs + made.rank
  return { t, joined: graph.add('Concat', [x, t], { name: `${made.name}.joined`, dims: last(width), attributes }) }
}

/** Adds a finished stage to the products of a site whose weights stay as they are, as a constant side branch. */
function addEarlier(graph: Graph, site: Site, earlier: EarlierFactor, name: string): void {
  if (!site.products.some(({ stays }) => stays)) return
  const x = site.products[0]!.input
  const { rank } = earlier
  const a = graph.addFloats(`${name}.a`, [site.inputs, rank], earlier.factor)
  const dims = [...graph.dimsOf(x).slice(0, -1), rank]
  const t = graph.add('MatMul', [x, a], { name: `${name}.projection`, dims })
  const values = scaledFactors(site, earlier)
  site.products.forEach((product, part) => {
    if (!product.stays) return
    addSide(graph, product, { t, values: values[part]!, rank, name: `${name}.${part}` })
  })
}

/** A rewritten site: the input that takes its factors, and sums whose base no group changes. */
export interface SideBranch {
  readonly factor: FactorInput
  readonly sums: readonly SideSum[]
}

/** Rewrites one site, whose factors come in the given layout. */
export function addSideBranch(graph: Graph, site: Site, frozen: Frozen, layout: Layout): SideBranch {
  const name = `sotto.site${frozen.index}`
  const { rank } = frozen
  const factor = `${name}.factor`
  graph.dims.set(factor, layout === 'stacked' ? [1, site.inputs, rank] : [site.inputs, rank])
  const { t, joined } = projections(graph, site, { name, factor, rank, layout })
  frozen.earlier.forEach((earlier, stage) => {
    addEarlier(graph, site, earlier, `${name}.stage${stage}`)
  })
  const values = scaledFactors(site, frozen)
  const sums = site.products.flatMap((product, part) => {
    const made = { values: values[part]!, rank, name: `${name}.${part}` }
    if (joined === undefined) return addSide(graph, product, { ...made, t })
    concatenate(graph, product, { ...made, joined })
    return []
  })
  return { factor: { name: factor, site: frozen.index, layout }, sums: layout === 'wide' ? sums : [] }
}
