import type { Task } from '../../../shared/api/spec.ts'
import { EngineError } from '../error.ts'
import type { EncodedRecord } from '../evaluate/evaluator.ts'
import type { ModelTokenizer } from './tokenizer.ts'

/** A task made ready for one tokenizer. */
export interface Prompt {
  encode(text: string): EncodedRecord
  /** Token of each label word, in the order of the task's labels. */
  readonly labelTokens: readonly number[]
  /** Index of a label. @throws EngineError `unknown_label`; the label is not repeated in the message. */
  labelIndex(label: string): number
}

/** Parts of a template around {text}; space before {text} goes with the text, as byte-level tokens begin with it. */
function partsOf(template: string, mask: string): { left: string; gap: string; right: string } {
  const [left, right] = template.split('{text}') as [string, string]
  const gap = /\s*$/.exec(left)![0]
  const filled = (part: string): string => part.replace('{mask}', () => mask)
  return { left: filled(left.slice(0, left.length - gap.length)), gap, right: filled(right) }
}

/** The one token of each label word, as it would stand at {mask}. */
function labelTokensOf(task: Task, tokenizer: ModelTokenizer): number[] {
  const afterSpace = /\s\{mask\}/.test(task.template)
  const tokens = Object.entries(task.labels).map(([label, word]) => {
    const ids = tokenizer.template(afterSpace ? ` ${word}` : word)
    if (ids.length !== 1 || ids[0] === tokenizer.unknownToken)
      throw new EngineError('label_not_one_token', `the word of label ${label} is not one token of the model`)
    return ids[0]!
  })
  if (new Set(tokens).size !== tokens.length)
    throw new EngineError('labels_share_token', 'two labels have the same token')
  return tokens
}

/** @throws EngineError where the model has no positions for the longest bucket. */
function checkBuckets(task: Task, tokenizer: ModelTokenizer): void {
  if (tokenizer.positions !== undefined && task.maxTokens > tokenizer.positions)
    throw new EngineError(
      'bucket_too_long',
      `the model has ${tokenizer.positions} positions, the task wants ${task.maxTokens}`,
    )
}

/**
 * Readies a prompt-classification task. Only the text is ever cut, at its end, so the mask and the special tokens stay.
 * @throws EngineError `label_not_one_token`, `labels_share_token`, `template_too_long`, `bucket_too_long`.
 */
export function preparePrompt(task: Task, tokenizer: ModelTokenizer): Prompt {
  checkBuckets(task, tokenizer)
  const { left, gap, right } = partsOf(task.template, tokenizer.mask.text)
  const head = [...tokenizer.before, ...tokenizer.template(left)]
  const foot = [...tokenizer.template(right), ...tokenizer.after]
  const room = task.maxTokens - head.length - foot.length
  const masks = [...head, ...foot].filter((id) => id === tokenizer.mask.id).length
  if (masks !== 1) throw new EngineError('no_mask_token', 'the template does not encode to exactly one mask token')
  if (room < 1) throw new EngineError('template_too_long', 'the template leaves no room for text')
  const inHead = head.indexOf(tokenizer.mask.id)
  const inFoot = foot.indexOf(tokenizer.mask.id)
  const indices = new Map(Object.keys(task.labels).map((label, index) => [label, index]))
  return {
    labelTokens: labelTokensOf(task, tokenizer),
    labelIndex: (label) => {
      const index = indices.get(label)
      if (index === undefined)
        throw new EngineError('unknown_label', 'a record has a label that the task does not name')
      return index
    },
    encode: (text) => {
      const body = tokenizer.data(gap + text).slice(0, room)
      const ids = Int32Array.from([...head, ...body, ...foot])
      const maskPosition = inHead >= 0 ? inHead : head.length + body.length + inFoot
      return { ids, maskPosition, bucket: task.buckets.find((bucket) => bucket >= ids.length)! }
    },
  }
}
