import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EngineError, type EngineErrorCode } from '../error.ts'

/** A code of an engine error, for tests that assert no message. */
export function codeOf(action: () => unknown): EngineErrorCode | undefined {
  try {
    action()
  } catch (error) {
    return error instanceof EngineError ? error.code : undefined
  }
  return undefined
}

/** A model folder of a test's own: the texts of its files by name, JSON where they are no strings. */
export function folderOf(files: Record<string, unknown>): string {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-texts-'))
  for (const [name, value] of Object.entries(files))
    writeFileSync(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value))
  return folder
}

const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }

/** Control tokens of the chat tokenizer below, by name. */
export const SPECIAL = { begin: '<s>', end: '</s>', start: '<|im_start|>', stop: '<|im_end|>', user: '<user>' } as const

/** Characters that the tokenizers below know one by one. */
const LETTERS = [...' abcdefghijklmnopqrstuvwxyz0123456789<>|_/[].,:?!\n']

/** ChatML, as many models have it. */
export const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

/**
 * Files of a decoder whose tokenizer knows single characters, and "ab" and "th" as one; `<user>` is an added token
 * that it does not call special. `<s>` stands before every text.
 */
export function decoderFiles(): Record<string, Record<string, unknown>> {
  const special = Object.values(SPECIAL)
  const vocab = Object.fromEntries([...special, ...LETTERS, 'ab', 'th'].map((token, id) => [token, id]))
  const merges = [
    ['a', 'b'],
    ['t', 'h'],
  ]
  const added_tokens = special.map((content, id) => ({ ...flags, id, content, special: content !== SPECIAL.user }))
  const post_processor = {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] } },
  }
  return {
    'tokenizer.json': {
      version: '1.0',
      added_tokens,
      normalizer: null,
      pre_tokenizer: null,
      post_processor,
      decoder: null,
      model: { type: 'BPE', unk_token: null, vocab, merges },
    },
    'tokenizer_config.json': { bos_token: SPECIAL.begin, eos_token: SPECIAL.end, chat_template: CHATML },
    'config.json': { vocab_size: Object.keys(vocab).length, max_position_embeddings: 64, model_type: 'llama' },
  }
}

/** Ids of tokens of the tokenizer above. */
export function idsOf(...tokens: string[]): number[] {
  const { vocab } = decoderFiles()['tokenizer.json']!.model as { vocab: Record<string, number> }
  return tokens.map((token) => vocab[token]!)
}
