import type { NodeProto } from '../onnx/onnx_pb.ts'
import { type Graph, intsAttribute } from './graph.ts'
import { acrossGroups, type SideSum } from './side.ts'
import { dimsOf, elementCount, floatsOf } from './tensor.ts'

/**
 * Attention of one query per group over keys and values with side branches, without ever making those keys and values.
 * With K' = K + t Vk and V' = V + t Vv, where K, V [T, H] are the same for all groups and t = x A [T, rank] is not:
 *
 *   q K'^T = q K^T + (q Vk^T) t^T        p V' = p V + (p t) Vv
 *
 * The first terms are one product per head with the queries of all groups as rows; the others have the rank as inner
 * size. The plain form would write G keys and values of [T, H] only to read each once.
 */

/** perm of the Transpose that makes [1, heads, size, T] or [1, heads, T, size] of [1, T, heads, size]. */
const KEY_PERM = [0, 2, 3, 1]
const VALUE_PERM = [0, 2, 1, 3]
/** Exchanges groups and positions of [G, heads, 1, n]; with one position the result holds the groups as rows. */
const GROUPS_AS_ROWS = [2, 1, 0, 3]

/** Keys or values on their way into a product: sum -> Reshape -> Transpose (-> Mul) -> MatMul, read by nothing else. */
interface HeadPath {
  readonly side: SideSum
  readonly reshape: NodeProto
  readonly transpose: NodeProto
  readonly product: NodeProto
  /** Constant of one element that the keys are multiplied by, as exports of fused attention do. */
  readonly multiplier: string | undefined
  readonly tokens: number
  readonly heads: number
  readonly size: number
}

function headPath(graph: Graph, consumers: Map<string, NodeProto[]>, side: SideSum): HeadPath | undefined {
  const only = (tensor: string, op: string): NodeProto | undefined => {
    const readers = consumers.get(tensor) ?? []
    return readers.length === 1 && readers[0]!.opType === op ? readers[0] : undefined
  }
  const reshape = only(side.sum, 'Reshape')
  const transpose = reshape && only(reshape.output[0]!, 'Transpose')
  const scaled = transpose && only(transpose.output[0]!, 'Mul')
  const multiplier = scaled?.input.find((input) => {
    const constant = graph.constants.get(input)
    return constant !== undefined && elementCount(dimsOf(constant)) === 1
  })
  const last = multiplier === undefined ? transpose?.output[0] : scaled?.output[0]
  const product = last === undefined ? undefined : only(last, 'MatMul')
  if (!reshape || !transpose || !product || product.input[1] !== last) return undefined
  const [, tokens, heads, size] = graph.dimsOf(reshape.output[0]!)
  const query = graph.dimsOf(product.input[0]!)
  if (!tokens || !heads || !size || query.length !== 4 || query[2] !== 1 || tokens === 1) return undefined
  return { side, reshape, transpose, product, multiplier, tokens, heads, size }
}

/** The part that no group changes, split into heads once for a record. */
function sharedHeads(graph: Graph, { side, reshape, transpose }: HeadPath): string {
  const split = graph.add('Reshape', [side.base, reshape.input[1]!], {
    name: `${side.sum}.base`,
    dims: graph.dimsOf(reshape.output[0]!),
  })
  return graph.add('Transpose', [split], {
    name: `${side.sum}.heads`,
    dims: graph.dimsOf(transpose.output[0]!),
    attributes: { perm: intsAttribute(transpose, 'perm')! },
  })
}

/** scale V [rank, heads * size] by heads: [heads, size, rank] where `turned`, else [heads, rank, size]. */
function factorByHead(graph: Graph, { side, heads, size }: HeadPath, turned: boolean): string {
  const { rank } = side
  const values = floatsOf(graph.constants.get(side.factor)!)
  const byHead = new Float32Array(values.length)
  for (let h = 0; h < heads; h++)
    for (let r = 0; r < rank; r++)
      for (let d = 0; d < size; d++) {
        const at = turned ? (h * size + d) * rank + r : (h * rank + r) * size + d
        byHead[at] = values[r * heads * size + h * size + d]!
      }
  return graph.addFloats(`${side.factor}.by_head`, turned ? [heads, size, rank] : [heads, rank, size], byHead)
}

/** Scores [G, heads, 1, T] = q K^T + (q Vk^T) t^T. */
function scores(graph: Graph, path: HeadPath): string {
  const { side, product, tokens, heads, size } = path
  const name = (part: string): string => acrossGroups(side.sum, part)
  const swap = { attributes: { perm: GROUPS_AS_ROWS } }
  const keys = sharedHeads(graph, path)
  const rows = graph.add('Transpose', [product.input[0]!], { name: name('query'), dims: [1, heads, 1, size], ...swap })
  const shared = graph.add('MatMul', [rows, keys], { name: name('shared_rows'), dims: [1, heads, 1, tokens] })
  const base = graph.add('Transpose', [shared], { name: name('shared'), dims: [1, heads, 1, tokens], ...swap })
  const inner = graph.add('MatMul', [rows, factorByHead(graph, path, true)], {
    name: name('inner_rows'),
    dims: [1, heads, 1, side.rank],
  })
  const byGroup = graph.add('Transpose', [inner], {
    name: name('inner_groups'),
    dims: [1, 1, heads, side.rank],
    attributes: { perm: [0, 2, 1, 3] },
  })
  const flat = graph.add('Reshape', [byGroup, graph.addInts(name('inner_shape'), [-1, heads, side.rank])], {
    name: name('inner'),
    dims: [1, heads, side.rank],
  })
  const turned = graph.add('Transpose', [side.projection], {
    name: name('projection'),
    dims: [1, side.rank, tokens],
    attributes: { perm: [0, 2, 1] },
  })
  const own = graph.add('MatMul', [flat, turned], { name: name('own_flat'), dims: [1, heads, tokens] })
  const ownRow = graph.add('Reshape', [own, graph.addInts(name('own_shape'), [-1, heads, 1, tokens])], {
    name: name('own'),
    dims: [1, heads, 1, tokens],
  })
  return graph.add('Add', [base, ownRow], { name: name('scores'), dims: [1, heads, 1, tokens] })
}

/** Context [G, heads, 1, size] = p V + (p t) Vv. */
function context(graph: Graph, path: HeadPath): string {
  const { side, product, tokens, heads, size } = path
  const name = (part: string): string => acrossGroups(side.sum, part)
  const swap = { attributes: { perm: GROUPS_AS_ROWS } }
  const [weights] = product.input as [string]
  const values = sharedHeads(graph, path)
  const rows = graph.add('Transpose', [weights], { name: name('weights'), dims: [1, heads, 1, tokens], ...swap })
  const shared = graph.add('MatMul', [rows, values], { name: name('shared'), dims: [1, heads, 1, size] })
  const flat = graph.add('Reshape', [weights, graph.addInts(name('weights_shape'), [-1, heads, tokens])], {
    name: name('weights_flat'),
    dims: [1, heads, tokens],
  })
  const inner = graph.add('MatMul', [flat, side.projection], { name: name('inner'), dims: [1, heads, side.rank] })
  const innerRows = graph.add('Transpose', [inner], {
    name: name('inner_rows'),
    dims: [heads, 1, side.rank],
    attributes: { perm: [1, 0, 2] },
  })
  const own = graph.add('MatMul', [innerRows, factorByHead(graph, path, false)], {
    name: name('own'),
    dims: [heads, 1, size],
  })
  const sum = graph.add('Add', [shared, own], { name: name('context_rows'), dims: [1, heads, 1, size] })
  return graph.add('Transpose', [sum], { name: name('context'), dims: [1, heads, 1, size], ...swap })
}

/** (q K'^T) c instead of q (K' c)^T. */
function multiplied(graph: Graph, { side, multiplier }: HeadPath, made: string): string {
  if (multiplier === undefined) return made
  return graph.add('Mul', [made, multiplier], { name: acrossGroups(side.sum, 'multiplied'), dims: graph.dimsOf(made) })
}

const samePerm = (node: NodeProto, perm: readonly number[]): boolean =>
  intsAttribute(node, 'perm')?.every((axis, at) => axis === perm[at]) ?? false

/** Rewrites the attention products that fit the pattern; any other stays in the plain form, which gives the same sums. */
export function factorAttention(graph: Graph, sides: readonly SideSum[]): void {
  graph.tidy()
  const consumers = graph.consumers()
  const paths = sides.flatMap((side) => headPath(graph, consumers, side) ?? [])
  for (const path of paths) {
    const { transpose, product } = path
    const made = samePerm(transpose, KEY_PERM)
      ? scores(graph, path)
      : samePerm(transpose, VALUE_PERM)
        ? context(graph, path)
        : undefined
    if (made !== undefined) graph.redirect(product.output[0]!, multiplied(graph, path, made))
  }
}
