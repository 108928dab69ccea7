import type { Graph } from './graph.ts'
import { biasAdd, matrixOf, type Product, requireMatMul } from './products.ts'
import type { Site } from './sites.ts'

/**
 * Side branches: y = x W becomes x W + (x A) (scale V), with V constant for a stage and A an input for each group.
 *
 * Inside the tail the leading dimension of a tensor that depends on A is the number of groups G; all else belongs to one
 * record and keeps a leading 1, so that numpy broadcasting joins the two. Dimensions noted in the graph are those of G = 1.
 */

/** How the factors of a site are laid out as an input. */
export interface FactorInput {
  readonly name: string
  /** Index of the site in the space. */
  readonly site: number
  /**
   * `wide`: [inputs, G * rank], for an input x that is the same for all groups: one product serves all of them.
   * `stacked`: [G, inputs, rank], for an x that differs by group.
   */
  readonly layout: 'wide' | 'stacked'
}

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
  frozen: { signs: Int8Array; rank: number; scale: number },
): Float32Array<ArrayBuffer>[] {
  let start = 0
  return site.products.map(({ outputs }) => {
    const part = new Float32Array(frozen.rank * outputs)
    for (let r = 0; r < frozen.rank; r++)
      for (let o = 0; o < outputs; o++)
        part[r * outputs + o] = frozen.scale * frozen.signs[r * site.outputs + start + o]!
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

/** [W; scale V] as one constant [inputs + rank, outputs]. */
function stackedMatrix(product: Product, values: Float32Array): Float32Array {
  const weight = matrixOf(product)
  const stacked = new Float32Array(weight.length + values.length)
  stacked.set(weight)
  stacked.set(values, weight.length)
  return stacked
}

/** Reads [x | x A] with [W; scale V]: no pass over the outputs, where those are the wider side. */
function concatenate(
  graph: Graph,
  product: Product,
  part: { joined: string; values: Float32Array; rank: number; name: string },
): void {
  const stacked = stackedMatrix(product, part.values)
  const weight = graph.addFloats(`${part.name}.stacked`, [product.inputs + part.rank, product.outputs], stacked)
  product.node.input = [part.joined, weight]
}

/** t = x A, and [x | t] where that is what the products read. */
function projections(
  graph: Graph,
  site: Site,
  made: { name: string; factor: string; rank: number; dependent: boolean },
): { t: string; joined: string | undefined } {
  const x = site.products[0]!.input
  const dims = graph.dimsOf(x)
  const last = (width: number): number[] => [...dims.slice(0, -1), width]
  if (!made.dependent) return { t: sharedProjection(graph, x, made.factor, made.rank), joined: undefined }
  const t = graph.add('MatMul', [x, made.factor], { name: `${made.name}.projection`, dims: last(made.rank) })
  if (site.inputs > site.outputs) return { t, joined: undefined }
  const attributes = { axis: -1 }
  const width = site.inputs + made.rank
  return { t, joined: graph.add('Concat', [x, t], { name: `${made.name}.joined`, dims: last(width), attributes }) }
}

/** A rewritten site: the input that takes its factors, and sums whose base no group changes. */
export interface SideBranch {
  readonly factor: FactorInput
  readonly sums: readonly SideSum[]
}

/**
 * Rewrites one site.
 * @param dependent whether x already depends on the group (a site before this one is trained).
 */
export function addSideBranch(
  graph: Graph,
  site: Site,
  frozen: { index: number; signs: Int8Array; rank: number; scale: number },
  dependent: boolean,
): SideBranch {
  const name = `sotto.site${frozen.index}`
  const { rank } = frozen
  const factor = `${name}.factor`
  site.products.forEach(requireMatMul)
  graph.dims.set(factor, dependent ? [1, site.inputs, rank] : [site.inputs, rank])
  const { t, joined } = projections(graph, site, { name, factor, rank, dependent })
  const values = scaledFactors(site, frozen)
  const sums = site.products.flatMap((product, part) => {
    const made = { values: values[part]!, rank, name: `${name}.${part}` }
    if (joined === undefined) return addSide(graph, product, { ...made, t })
    concatenate(graph, product, { ...made, joined })
    return []
  })
  const layout = dependent ? 'stacked' : 'wide'
  return { factor: { name: factor, site: frozen.index, layout }, sums: dependent ? [] : sums }
}
