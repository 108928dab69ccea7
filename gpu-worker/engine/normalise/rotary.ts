import { type Graph, intAttribute } from '../graph/graph.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { inputAt, type Rule, type Writer } from './node.ts'
import { rankOf } from './ranks.ts'

/** Rotary position embeddings, as slices, products and a Concat. */

/** End of a slice that goes to the end of its axis. */
const TO_THE_END = 2 ** 31 - 1

export interface Rotation {
  /** Tables [positions, half], or for `positions` undefined values [records, tokens, half] made already. */
  readonly cos: string
  readonly sin: string
  /** int64 [records, tokens], or one offset [1]; undefined where the tables hold one row for each token. */
  readonly positions: { readonly name: string; readonly rank: number } | undefined
  /** Half the numbers of a head that are turned, int64 [1]. */
  readonly half: string
  /** Twice that. */
  readonly whole: string
  /** Whether pairs are neighbours, rather than half a head apart. */
  readonly interleaved: boolean
  /** Whether numbers of a head beyond the pairs stay as they are. */
  readonly partial: boolean
  /** Axis of the tokens in x, whose other axis is that of the heads: 1 for [.., T, N, d], 2 for [.., N, T, d]. */
  readonly tokenAxis: 1 | 2
}

const sliceLast = (write: Writer, x: string, part: { start: string; end: string; step?: number }): string =>
  write.node('Slice', [x, part.start, part.end, write.ints([-1]), write.ints([part.step ?? 1])])

/**
 * Number of tokens of x as a scalar, in the form of the exporters: the runtime's fusions crash on a Squeeze without
 * axes.
 */
export function tokenCount(write: Writer, x: string, axis: number): string {
  return write.node('Gather', [write.node('Shape', [x]), write.ints([axis], [])])
}

/** 0 .. T-1 for the tokens of x, int64 [T]. */
export function tokenRange(write: Writer, x: string, axis: number): string {
  return write.node('Range', [write.ints([0], []), tokenCount(write, x, axis), write.ints([1], [])])
}

/**
 * Rows of a table for the tokens of x, with an axis of size 1 for the heads: [records or 1, T, 1, half], or 1 and T
 * swapped.
 */
function rowsFor(write: Writer, x: string, table: string, turn: Rotation): string {
  const headAxis = turn.tokenAxis === 1 ? 2 : 1
  const { positions } = turn
  if (!positions) return write.node('Unsqueeze', [table, write.ints([headAxis])])
  if (positions.rank === 2)
    return write.node('Unsqueeze', [write.node('Gather', [table, positions.name]), write.ints([headAxis])])
  const range = write.node('Add', [tokenRange(write, x, turn.tokenAxis), positions.name])
  return write.node('Unsqueeze', [write.node('Gather', [table, range]), write.ints([0, headAxis])])
}

/** Real and imaginary part of pairs turned. */
function turned(write: Writer, x: string, turn: Rotation): { real: string; imaginary: string } {
  const { half, whole, interleaved } = turn
  const [zero, one] = [write.ints([0]), write.ints([1])]
  const first = sliceLast(write, x, interleaved ? { start: zero, end: whole, step: 2 } : { start: zero, end: half })
  const second = sliceLast(write, x, interleaved ? { start: one, end: whole, step: 2 } : { start: half, end: whole })
  const [cos, sin] = [turn.cos, turn.sin].map((table) => rowsFor(write, x, table, turn)) as [string, string]
  const times = (a: string, b: string): string => write.node('Mul', [a, b])
  return {
    real: write.node('Sub', [times(first, cos), times(second, sin)]),
    imaginary: write.node('Add', [times(second, cos), times(first, sin)]),
  }
}

/** Turns the heads of x, four axes. @returns the name of a tensor of the same shape. */
export function rotate(write: Writer, x: string, turn: Rotation, output?: string): string {
  const { real, imaginary } = turned(write, x, turn)
  const last = { attributes: { axis: -1 } }
  const named = output === undefined ? {} : { output }
  const rest = turn.partial ? [sliceLast(write, x, { start: turn.whole, end: write.ints([TO_THE_END]) })] : []
  if (!turn.interleaved) return write.node('Concat', [real, imaginary, ...rest], { ...last, ...named })
  const columns = [real, imaginary].map((part) => write.node('Unsqueeze', [part, write.ints([-1])]))
  const pairs = write.node('Concat', columns, last)
  const flat = write.ints([0, 0, 0, -1])
  if (rest.length === 0) return write.node('Reshape', [pairs, flat], named)
  return write.node('Concat', [write.node('Reshape', [pairs, flat]), ...rest], { ...last, ...named })
}

/** How much of a head is turned: as wide as the tables are, known now or from their shape. */
export function turnedWidth(graph: Graph, write: Writer, table: string): Pick<Rotation, 'half' | 'whole'> {
  const width = graph.constants.get(table)?.dims.at(-1)
  if (width !== undefined) return { half: write.ints([Number(width)]), whole: write.ints([2 * Number(width)]) }
  const half = write.node('Shape', [table], { attributes: { start: -1 } })
  return { half, whole: write.node('Add', [half, half]) }
}

interface Places {
  readonly cos: number
  readonly sin: number
  readonly positions: number
}

/** @param places of the operands; the ONNX operator and the older one of the runtime order them differently. */
const rotaryRule =
  (places: Places, producers: ReadonlyMap<string, NodeProto>): Rule =>
  (node, write, graph) => {
    const [x] = node.input as [string]
    const [cos, sin, positions] = [places.cos, places.sin, places.positions].map((at) => inputAt(node, at))
    const rank = rankOf(graph, producers, x)
    const heads = intAttribute(node, 'num_heads', 0)
    if (!cos || !sin || rank === undefined || (rank === 3 && heads < 1)) return false
    const turn: Rotation = {
      cos,
      sin,
      positions:
        positions === undefined ? undefined : { name: positions, rank: rankOf(graph, producers, positions) ?? 2 },
      ...turnedWidth(graph, write, cos),
      interleaved: intAttribute(node, 'interleaved', 0) === 1,
      partial: intAttribute(node, 'rotary_embedding_dim', 0) > 0,
      tokenAxis: rank === 3 ? 1 : 2,
    }
    const output = node.output[0]!
    if (rank === 4) rotate(write, x, turn, output)
    else {
      const split = write.node('Reshape', [x, write.ints([0, 0, heads, -1])])
      write.node('Reshape', [rotate(write, split, turn), write.ints([0, 0, -1])], { output })
    }
    return true
  }

/** Rules for a graph as it was before any rewriting. */
export function rotaryRules(producers: ReadonlyMap<string, NodeProto>): Readonly<Record<string, Rule>> {
  return {
    RotaryEmbedding: rotaryRule({ cos: 1, sin: 2, positions: 3 }, producers),
    'com.microsoft:RotaryEmbedding': rotaryRule({ cos: 2, sin: 3, positions: 1 }, producers),
  }
}
