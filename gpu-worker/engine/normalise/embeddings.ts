import { floatAttribute, inputAt, type Rule } from './node.ts'
import { tokenRange } from './rotary.ts'

const EPSILON = 1e-12

/**
 * EmbedLayerNormalization of the runtime: three tables, their sum, its normalisation, and the lengths of the records.
 */
const embedLayerNorm: Rule = (node, write) => {
  const [ids, types, words, places, kinds, scale, shift, mask, positions] = Array.from({ length: 9 }, (_, at) =>
    inputAt(node, at),
  )
  const [output, lengths, sum] = node.output
  const rows = write.node('Gather', [words!, ids!])
  const counted = (): string => write.node('Unsqueeze', [tokenRange(write, ids!, 1), write.ints([0])])
  const placed = write.node('Gather', [places!, positions ?? counted()])
  const tables = kinds && types ? [rows, placed, write.node('Gather', [kinds, types])] : [rows, placed]
  const [first, ...others] = tables as [string, ...string[]]
  const last = others.pop()!
  const before = others.reduce((total, table) => write.node('Add', [total, table]), first)
  const total = write.node('Add', [before, last], sum ? { output: sum } : {})
  write.node('LayerNormalization', [total, scale!, ...(shift === undefined ? [] : [shift])], {
    output: output!,
    attributes: { axis: -1, epsilon: { float: floatAttribute(node, 'epsilon', EPSILON) } },
  })
  if (mask !== undefined && lengths)
    write.node('ReduceSum', [mask, write.ints([1])], { output: lengths, attributes: { keepdims: 0 } })
  return true
}

export const EMBEDDING_RULES: Readonly<Record<string, Rule>> = {
  'com.microsoft:EmbedLayerNormalization': embedLayerNorm,
}
