import type { Graph } from '../graph/graph.ts'
import { ACTIVATION_RULES } from './activations.ts'
import { attentionRules } from './attention.ts'
import { elementTypes } from './element-types.ts'
import { EMBEDDING_RULES } from './embeddings.ts'
import { rewrite } from './node.ts'
import { NORM_RULES } from './norms.ts'
import { rotaryRules } from './rotary.ts'

/**
 * Fused operators become the plain ones they stand for; the runtime fuses again by itself what it runs faster fused.
 * One in a form that is not known stays, and is refused where a trained path meets it.
 */
export function unfuse(graph: Graph): void {
  const producers = graph.producers()
  rewrite(graph, {
    ...NORM_RULES,
    ...ACTIVATION_RULES,
    ...EMBEDDING_RULES,
    ...rotaryRules(producers),
    ...attentionRules(producers, elementTypes(graph)),
  })
}
