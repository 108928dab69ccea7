import { z } from 'zod'

/** `__proto__` is no key of a record: zod would drop it in silence, and the spec would be another than the one asked for. */
function refuseProto(labels: unknown, context: z.RefinementCtx): unknown {
  if (typeof labels === 'object' && labels !== null && Object.hasOwn(labels, '__proto__')) {
    context.addIssue({ code: 'custom', message: '__proto__ is no label' })
  }
  return labels
}

/** A record from a label in the data to what the model answers for it. */
const labelsTo = <Value extends z.ZodType<string | number>>(value: Value) =>
  z.preprocess(
    refuseProto,
    z
      .record(z.string().min(1).max(100), value)
      .refine((labels) => Object.keys(labels).length >= 2, 'at least two labels'),
  )

const lengthsShape = {
  maxTokens: z.int().min(8).max(8192).describe('What is longer is cut: special tokens, template and end token stay.'),
  buckets: z
    .array(z.int().positive())
    .min(1)
    .max(16)
    .describe(
      'Fixed lengths, ascending, the last equal to maxTokens; a record is padded to the smallest that holds it.',
    ),
}
const bucketsAscend = (task: { maxTokens: number; buckets: number[] }): boolean =>
  task.buckets.at(-1) === task.maxTokens && task.buckets.every((b, i, all) => i === 0 || b > (all[i - 1] ?? 0))
const ASCEND = 'buckets ascend and end at maxTokens'

export const promptClassificationSchema = z
  .strictObject({
    kind: z.literal('prompt-classification'),
    template: z
      .string()
      .max(2000)
      .refine(
        (t) => t.split('{text}').length === 2 && t.split('{mask}').length === 2,
        'holds {text} once and {mask} once',
      )
      .describe('Holds {text} and {mask} once each; special tokens are added by the tokenizer.'),
    labels: labelsTo(z.string().min(1).max(100)).describe('Label in the data -> label word, one token of the model.'),
    ...lengthsShape,
  })
  .refine(bucketsAscend, ASCEND)
  .meta({ id: 'PromptClassification', description: 'Lines {text, label}: which label word stands at the mask.' })

export const sequenceClassificationSchema = z
  .strictObject({
    kind: z.literal('sequence-classification'),
    labels: labelsTo(z.int().nonnegative().max(65_535))
      .refine(
        (labels) => new Set(Object.values(labels)).size === Object.keys(labels).length,
        'two labels are one class',
      )
      .describe("Label in the data -> class of the model's head, counted from 0."),
    ...lengthsShape,
  })
  .refine(bucketsAscend, ASCEND)
  .meta({ id: 'SequenceClassification', description: 'Lines {text, label}: which class the head of the model says.' })

const causalShape = {
  kind: z.literal('causal-lm'),
  ...lengthsShape,
  maxCompletionTokens: z
    .int()
    .positive()
    .max(8191)
    .describe('A completion is cut here, at its end; a prompt is cut at its beginning to what room is left.'),
}
const leavesRoom = (task: { maxTokens: number; maxCompletionTokens: number }): boolean =>
  task.maxCompletionTokens < task.maxTokens
const ROOM = 'maxCompletionTokens leaves no room for a prompt within maxTokens'

export const completionLmSchema = z
  .strictObject({
    ...causalShape,
    format: z.literal('completion'),
    appendEnd: z.boolean().default(true).describe("The model's end token is the last one of each completion."),
  })
  .refine(bucketsAscend, ASCEND)
  .refine(leavesRoom, ROOM)
  .meta({
    id: 'CompletionLm',
    description: 'Lines {prompt, completion}: the mean loss of the tokens of the completion.',
  })

export const messagesLmSchema = z
  .strictObject({ ...causalShape, format: z.literal('messages') })
  .refine(bucketsAscend, ASCEND)
  .refine(leavesRoom, ROOM)
  .meta({
    id: 'MessagesLm',
    description: "Lines {messages}: the mean loss of the assistant's last message, in the model's chat template.",
  })

export const preferencePairsSchema = z
  .strictObject({
    kind: z.literal('preference-pairs'),
    ...lengthsShape,
    maxCompletionTokens: causalShape.maxCompletionTokens,
  })
  .refine(bucketsAscend, ASCEND)
  .refine(leavesRoom, ROOM)
  .meta({
    id: 'PreferencePairs',
    description:
      'Lines {prompt, chosen, rejected}: how the two completions of a prompt differ. Of a statistic, not of training.',
  })

export const taskSchema = z
  .discriminatedUnion('kind', [
    promptClassificationSchema,
    sequenceClassificationSchema,
    preferencePairsSchema,
    z.discriminatedUnion('format', [completionLmSchema, messagesLmSchema]),
  ])
  .meta({ id: 'Task', description: 'What a record is, and what its loss is.' })

export type Task = z.infer<typeof taskSchema>
export type PromptClassification = z.infer<typeof promptClassificationSchema>
export type SequenceClassification = z.infer<typeof sequenceClassificationSchema>
export type PreferencePairs = z.infer<typeof preferencePairsSchema>
/** Causal language modelling, by the form of the lines. */
export type CausalLm = z.infer<typeof completionLmSchema> | z.infer<typeof messagesLmSchema>
