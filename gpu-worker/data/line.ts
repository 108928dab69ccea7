import { z } from 'zod'
import type { Task } from '../../shared/api/task.ts'

/** One turn of a conversation. Roles are the chat template's business. */
export interface Message {
  readonly role: string
  readonly content: string
}

export interface TextLine {
  readonly text: string
  /** As the data have it; a line without one has logits, but no loss. */
  readonly label?: string
}

export interface CompletionLine {
  readonly prompt: string
  readonly completion: string
}

export interface MessagesLine {
  /** The last one is the assistant's: the loss is its. */
  readonly messages: readonly Message[]
}

/** Two completions of a prompt: one that is wanted, and one that is not. */
export interface PreferenceLine {
  readonly prompt: string
  readonly chosen: string
  readonly rejected: string
}

/** One record, as a task takes it. */
export type Line = TextLine | CompletionLine | MessagesLine

/** How the lines of a file are written. */
export type Form = 'text' | 'completion' | 'messages' | 'preference'

/** The form of line that a task takes. */
export function formOf(task: Task): Form {
  if (task.kind === 'preference-pairs') return 'preference'
  return task.kind === 'causal-lm' ? task.format : 'text'
}

/** One line of a data file: the fields of each form that it has whole. */
export type DataLine = Partial<TextLine & CompletionLine & MessagesLine & PreferenceLine>

/** A line in the form that a task takes, or null where it lacks that form; a preference is two: see `sidesOf`. */
export function lineFor(task: Task, { text, label, prompt, completion, messages }: DataLine): Line | null {
  switch (formOf(task)) {
    case 'text':
      return text === undefined || label === undefined ? null : { text, label }
    case 'completion':
      return prompt === undefined || completion === undefined ? null : { prompt, completion }
    case 'messages':
      return messages === undefined ? null : { messages }
    case 'preference':
      return null
  }
}

/** The two sides of a preference, as completions; null where a line lacks that form. */
export function sidesOf({ prompt, chosen, rejected }: DataLine): readonly [CompletionLine, CompletionLine] | null {
  if (prompt === undefined || chosen === undefined || rejected === undefined) return null
  return [
    { prompt, completion: chosen },
    { prompt, completion: rejected },
  ]
}

/**
 * What a line of each form holds. A line may hold more beside it; a message may not, since a template could read tool
 * calls or a name, and a record that silently lost them would be another than the owner wrote.
 */
export const FORMS = {
  text: z.object({ text: z.string(), label: z.string() }),
  completion: z.object({ prompt: z.string(), completion: z.string() }),
  preference: z.object({ prompt: z.string(), chosen: z.string(), rejected: z.string() }),
  messages: z.object({
    messages: z
      .array(z.strictObject({ role: z.string().min(1), content: z.string() }))
      .min(1)
      .refine((messages) => messages.at(-1)?.role === 'assistant', { params: { code: 'last_not_assistant' } }),
  }),
} as const satisfies Record<Form, z.ZodType>
