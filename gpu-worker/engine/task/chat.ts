import { Environment, Interpreter, Template } from '@huggingface/jinja'
import type { Message } from '../../data/index.ts'
import { EngineError } from '../error.ts'

/** Renders a conversation; `continued` adds what stands before the assistant's next message. */
export type ChatTemplate = (messages: readonly Message[], continued: boolean) => string

/**
 * The day that templates are told, the one that Llama's fall back to: a record's tokens may not depend on when they
 * were made. Friday, 26 July 2024.
 */
const DAY: Readonly<Record<string, string>> = {
  a: 'Fri',
  A: 'Friday',
  b: 'Jul',
  B: 'July',
  d: '26',
  H: '00',
  j: '208',
  m: '07',
  M: '00',
  p: 'AM',
  S: '00',
  y: '24',
  Y: '2024',
  '%': '%',
}
const dayIn = (format: string): string => format.replace(/%(.)/g, (directive, letter) => DAY[letter] ?? directive)

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop]
  const length = Math.max(0, Math.ceil((to - from) / step))
  return Array.from({ length }, (_, i) => from + i * step)
}

/** What every template may use, as in transformers, less the clock. */
const GLOBALS = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception: () => {
    throw new Error('refused')
  },
  range,
  strftime_now: dayIn,
  tools: null,
  documents: null,
}

/**
 * Opens a chat template. What it throws on a conversation may quote it, so that only the code is passed on.
 * @param tokenTexts `bos_token` and so on, as the template knows them.
 * @throws EngineError `chat_template_failed`, here where it can not be read, later where it refuses a conversation.
 */
export function openChatTemplate(source: string, tokenTexts: Readonly<Record<string, string>>): ChatTemplate {
  const program = parse(source)
  return function renderChat(messages, continued) {
    const environment = new Environment()
    const values = { ...GLOBALS, ...tokenTexts, messages, add_generation_prompt: continued }
    for (const [name, value] of Object.entries(values)) environment.set(name, value)
    let rendered: { readonly value: unknown }
    try {
      rendered = new Interpreter(environment).run(program)
    } catch {
      throw new EngineError('chat_template_failed', 'the chat template of the model refuses a conversation')
    }
    if (typeof rendered.value !== 'string')
      throw new EngineError('chat_template_failed', 'the chat template makes no text')
    return rendered.value
  }
}

function parse(source: string): Template['parsed'] {
  try {
    return new Template(source).parsed
  } catch (cause) {
    throw new EngineError('chat_template_failed', 'the chat template of the model can not be read', { cause })
  }
}
