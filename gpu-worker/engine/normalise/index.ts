import type { Graph } from '../graph/graph.ts'
import { withoutCache } from './cache.ts'
import { withoutConstantNodes } from './constants.ts'
import { refuseCoupling } from './coupling.ts'
import { widenHalves } from './half.ts'
import { settleInputs, settleOutputs } from './inputs.ts'
import { raiseOpset } from './opset.ts'
import { withoutIdleNodes } from './plumbing.ts'
import { settleQuantised } from './quantised.ts'
import { unfuse } from './unfuse.ts'

/**
 * Makes one form of what exporters write in many, so that the rest of the engine meets few operators: a graph in
 * float32, of opset 18 or later, with the inputs `input_ids`, `attention_mask`, `token_type_ids` and `position_ids`
 * (those it has) as int64 [records, tokens] and the logits as its output. Dimensions are not known yet.
 * @throws EngineError `unsupported_graph` or `coupled_batch`, naming the node, input or constant and what to do.
 */
export function normalise(graph: Graph): void {
  withoutConstantNodes(graph)
  settleOutputs(graph)
  graph.tidy()
  withoutCache(graph)
  settleInputs(graph)
  raiseOpset(graph)
  refuseCoupling(graph)
  settleQuantised(graph)
  widenHalves(graph)
  unfuse(graph)
  withoutIdleNodes(graph)
  graph.tidy()
}

export { opsetOf } from './opset.ts'
export { type RecordAxes, recordAxes } from './records.ts'
export { regularise } from './regularise.ts'
