import type { CausalLm } from '../../../shared/api/task.ts'
import type { Line } from '../../data/index.ts'
import { EngineError } from '../error.ts'
import { type ChatTemplate, openChatTemplate } from './chat.ts'
import { bucketOf, type EncodedRecord, type PreparedTask } from './record.ts'
import type { ModelTokenizer } from './tokenizer.ts'

/** Tokens of a record before it is cut. */
interface Halves {
  readonly prompt: readonly number[]
  readonly completion: readonly number[]
}

/**
 * Where a completion begins: behind the tokens that the whole has in common with the prompt alone. A token that holds
 * the end of the prompt and the beginning of the completion belongs to the completion, so that the tokens are those of
 * the whole text.
 */
function halvesOf(whole: readonly number[], prompt: readonly number[]): Halves {
  let at = 0
  while (at < prompt.length && whole[at] === prompt[at]) at++
  return { prompt: whole.slice(0, at), completion: whole.slice(at) }
}

function splitter(task: CausalLm, tokenizer: ModelTokenizer): (line: Line) => Halves {
  return task.format === 'completion' ? completionSplitter(task, tokenizer) : messagesSplitter(tokenizer)
}

function completionSplitter(
  { appendEnd }: Extract<CausalLm, { format: 'completion' }>,
  tokenizer: ModelTokenizer,
): (line: Line) => Halves {
  const { before, endToken } = tokenizer
  if (appendEnd && endToken === undefined)
    throw new EngineError('no_end_token', 'the model names no end token: name one, or set appendEnd to false')
  const end = appendEnd ? [endToken!] : []
  return function splitCompletion(line) {
    if (!('prompt' in line)) throw new EngineError('wrong_form', 'a record has no prompt and completion')
    const halves = halvesOf(tokenizer.data(line.prompt + line.completion), tokenizer.data(line.prompt))
    return { prompt: [...before, ...halves.prompt], completion: [...halves.completion, ...end] }
  }
}

function messagesSplitter(tokenizer: ModelTokenizer): (line: Line) => Halves {
  const { chatTemplate, tokenTexts } = tokenizer
  if (chatTemplate === undefined)
    throw new EngineError('no_chat_template', 'the model folder has no chat_template: add chat_template.jinja to it')
  const template = openChatTemplate(chatTemplate, tokenTexts)
  return function splitMessages(line) {
    if (!('messages' in line)) throw new EngineError('wrong_form', 'a record has no messages')
    return splitConversation(line.messages, template, tokenizer)
  }
}

function splitConversation(
  messages: readonly { readonly role: string; readonly content: string }[],
  template: ChatTemplate,
  tokenizer: ModelTokenizer,
): Halves {
  if (messages.at(-1)?.role !== 'assistant')
    throw new EngineError('last_not_assistant', "the last message of a record is not the assistant's")
  const { fence, rendered } = tokenizer
  const fenced = messages.map(({ role, content }) => ({ role: fence(role), content: fence(content) }))
  const prompt = template(fenced.slice(0, -1), true)
  const whole = template(fenced, false)
  if (!whole.startsWith(prompt))
    throw new EngineError('prompt_not_prefix', 'the chat template begins a conversation otherwise when it goes on')
  return halvesOf(rendered(whole), rendered(prompt))
}

/** The control tokens at the beginning, which stay when the prompt behind them is cut. */
function beginningOf(prompt: readonly number[], before: readonly number[]): readonly number[] {
  return before.every((id, at) => prompt[at] === id) ? before : []
}

/** Cuts a record to the task's lengths: the completion at its end, the prompt at its beginning. */
function recordOf({ prompt, completion }: Halves, before: readonly number[], task: CausalLm): EncodedRecord {
  // Nothing stands before the first token of a text without prompt: it is given, not scored.
  const given = prompt.length > 0 ? prompt : completion.slice(0, 1)
  const scored = (prompt.length > 0 ? completion : completion.slice(1)).slice(0, task.maxCompletionTokens)
  if (scored.length === 0) throw new EngineError('empty_completion', 'a completion has no token')
  const beginning = beginningOf(given, before)
  const room = task.maxTokens - beginning.length - scored.length
  const context = [...beginning, ...given.slice(beginning.length).slice(-room)]
  const ids = [...context, ...scored]
  return {
    ids: Int32Array.from(ids),
    bucket: bucketOf(task.buckets, ids.length),
    positions: Int32Array.from(scored, (_, at) => context.length - 1 + at),
    targets: Int32Array.from(scored),
    weights: new Float32Array(scored.length).fill(1 / scored.length),
  }
}

const PLAINEST: Line = {
  messages: [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ],
}

/**
 * Readies a causal task: the mean loss of the tokens of a completion after its prompt.
 * @throws EngineError `completion_too_long`, `no_end_token`, `no_chat_template`, or what the chat template does to the
 * plainest conversation: `chat_template_failed`, `prompt_not_prefix`, `empty_completion`.
 */
export function prepareCausal(task: CausalLm, tokenizer: ModelTokenizer): PreparedTask {
  const { before } = tokenizer
  if (before.length + 1 + task.maxCompletionTokens > task.maxTokens)
    throw new EngineError('completion_too_long', 'maxCompletionTokens leaves no room for a prompt: raise maxTokens')
  const split = splitter(task, tokenizer)
  const encode = (line: Line): EncodedRecord => recordOf(split(line), before, task)
  // A template that fails on the plainest conversation would fail on every record, in silence.
  if (task.format === 'messages') encode(PLAINEST)
  return {
    outputs: { kind: 'vocabulary' },
    positionsOf: (bucket) => Math.min(bucket, task.maxCompletionTokens),
    encode,
  }
}
