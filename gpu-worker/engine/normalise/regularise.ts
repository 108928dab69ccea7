import type { Graph } from '../graph/graph.ts'
import { liftLeading } from './lift.ts'
import { selectPooled } from './pooled.ts'
import { recordAxes } from './records.ts'
import { simplify } from './simplify.ts'

/**
 * After the fold, when the dimensions of every tensor are known for one record: no step that changes nothing, every
 * Reshape with its sizes spelt out, and a leading axis of one on every activation that can have it.
 * @throws EngineError `coupled_batch` where a node works along the axis of the records.
 */
export function regularise(graph: Graph): void {
  simplify(graph)
  selectPooled(graph)
  liftLeading(graph)
  simplify(graph)
  recordAxes(graph)
}
