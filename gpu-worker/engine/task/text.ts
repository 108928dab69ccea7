import type { PromptClassification, SequenceClassification, Task } from '../../../shared/api/task.ts'
import type { Line, TextLine } from '../../data/index.ts'
import { EngineError } from '../error.ts'
import { bucketOf, type EncodedRecord, type PreparedTask } from './record.ts'
import type { ModelTokenizer } from './tokenizer.ts'

/** @throws EngineError `wrong_form`. */
function textOf(line: Line): TextLine {
  if ('text' in line) return line
  throw new EngineError('wrong_form', 'a record is no text, which the task classifies')
}

/** A record with one position that counts. @param target class, or undefined for a line without label. */
function oneTarget(ids: readonly number[], position: number, target: number | undefined, task: Task): EncodedRecord {
  return {
    ids: Int32Array.from(ids),
    bucket: bucketOf(task.buckets, ids.length),
    positions: Int32Array.of(position),
    targets: Int32Array.of(target ?? 0),
    weights: Float32Array.of(target === undefined ? Number.NaN : 1),
  }
}

/** Class of a line's label. @throws EngineError `unknown_label`; the label is not repeated in the message. */
function classFinder(classes: ReadonlyMap<string, number>): (line: TextLine) => number | undefined {
  return function classOf({ label }) {
    if (label === undefined) return undefined
    const found = classes.get(label)
    if (found === undefined) throw new EngineError('unknown_label', 'a record has a label that the task does not name')
    return found
  }
}

/** Parts of a template around {text}; space before {text} goes with the text, as byte-level tokens begin with it. */
function partsOf(template: string, mask: string): { left: string; gap: string; right: string } {
  const [left, right] = template.split('{text}') as [string, string]
  const gap = /\s*$/.exec(left)![0]
  const filled = (part: string): string => part.replace('{mask}', () => mask)
  return { left: filled(left.slice(0, left.length - gap.length)), gap, right: filled(right) }
}

/** The one token of each label word, as it would stand at {mask}. */
function labelTokensOf(task: PromptClassification, tokenizer: ModelTokenizer): number[] {
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

/**
 * Readies a prompt-classification task. Only the text is ever cut, at its end, so the mask and the control tokens stay.
 * @throws EngineError `no_mask_token`, `label_not_one_token`, `labels_share_token`, `template_too_long`.
 */
export function preparePrompt(task: PromptClassification, tokenizer: ModelTokenizer): PreparedTask {
  const { mask } = tokenizer
  if (!mask) throw new EngineError('no_mask_token', 'the tokenizer names no mask token: take a masked language model')
  const { left, gap, right } = partsOf(task.template, mask.text)
  const head = [...tokenizer.before, ...tokenizer.template(left)]
  const foot = [...tokenizer.template(right), ...tokenizer.after]
  const room = task.maxTokens - head.length - foot.length
  if ([...head, ...foot].filter((id) => id === mask.id).length !== 1)
    throw new EngineError('no_mask_token', 'the template does not encode to exactly one mask token')
  if (room < 1) throw new EngineError('template_too_long', 'the template leaves no room for text: raise maxTokens')
  const inHead = head.indexOf(mask.id)
  const inFoot = foot.indexOf(mask.id)
  const classOf = classFinder(new Map(Object.keys(task.labels).map((label, index) => [label, index])))
  return {
    outputs: { kind: 'rows', tokens: labelTokensOf(task, tokenizer) },
    positionsOf: () => 1,
    encode: (line) => {
      const record = textOf(line)
      const body = tokenizer.data(gap + record.text).slice(0, room)
      const position = inHead >= 0 ? inHead : head.length + body.length + inFoot
      return oneTarget([...head, ...body, ...foot], position, classOf(record), task)
    },
  }
}

/**
 * Readies a sequence-classification task: the text between the model's control tokens, cut at its end.
 * @throws EngineError `no_pad_token`, `class_out_of_range`, `template_too_long`.
 */
export function prepareSequence(task: SequenceClassification, tokenizer: ModelTokenizer): PreparedTask {
  // A decoder's classifier reads the last token that is no padding, and its graph knows padding by that entry alone.
  if (!tokenizer.padNamed)
    throw new EngineError('no_pad_token', 'config.json names no pad_token_id: set it and export the model again')
  const needed = Math.max(...Object.values(task.labels)) + 1
  const count = tokenizer.classes ?? needed
  if (needed > count)
    throw new EngineError('class_out_of_range', `a label is class ${needed - 1}, the head of the model has ${count}`)
  const { before, after } = tokenizer
  const room = task.maxTokens - before.length - after.length
  if (room < 1) throw new EngineError('template_too_long', 'control tokens leave no room for text: raise maxTokens')
  const classOf = classFinder(new Map(Object.entries(task.labels)))
  return {
    outputs: { kind: 'classes', count },
    positionsOf: () => 1,
    encode: (line) => {
      const record = textOf(line)
      const ids = [...before, ...tokenizer.data(record.text).slice(0, room), ...after]
      if (ids.length === 0) throw new EngineError('empty_text', 'a text has no token')
      return oneTarget(ids, 0, classOf(record), task)
    },
  }
}
