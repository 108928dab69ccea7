import { type Graph, intAttribute } from '../graph/graph.ts'
import { type Rule, rewrite, setAttribute } from './node.ts'

/**
 * Weight-only quantised products. Level 4 of MatMulNBits lets the runtime round activations to int8 as well: block by
 * block of one row, so no record reaches another, but the losses become stairs whose steps do not shrink with the
 * radius. Finite differences need the smooth ones: computation in float32.
 */
const FLOAT32 = 0

const exactProducts: Rule = (node) => {
  if (intAttribute(node, 'accuracy_level', FLOAT32) > 1) setAttribute(node, 'accuracy_level', FLOAT32)
  return false
}

export function settleQuantised(graph: Graph): void {
  rewrite(graph, { 'com.microsoft:MatMulNBits': exactProducts })
}
