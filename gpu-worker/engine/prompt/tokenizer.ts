import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { z } from 'zod'
import { EngineError } from '../error.ts'

/** The files of a model folder that say how text becomes tokens; unknown keys are other tools' business. */
const tokenizerFile = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id: z.int(), content: z.string(), special: z.boolean().default(false) }))
    .default([]),
})
const namedToken = z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)])
const tokenizerConfig = z.looseObject({
  mask_token: namedToken.nullish(),
  pad_token: namedToken.nullish(),
  unk_token: namedToken.nullish(),
})
const modelConfig = z.looseObject({
  pad_token_id: z.int().nonnegative().nullish(),
  max_position_embeddings: z.int().positive().nullish(),
  model_type: z.string().nullish(),
})

function readJson<T>(modelDir: string, file: string, schema: z.ZodType<T>): T | undefined {
  const path = join(modelDir, file)
  if (!existsSync(path)) return undefined
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw new EngineError('unsupported_tokenizer', `${file} is not what it should be`, { cause })
  }
}

export interface ModelTokenizer {
  /** Tokens of text that may hold special tokens by name: the template. */
  readonly template: (text: string) => number[]
  /** Tokens of text from the data, in which no special token is recognised: `[MASK]` in a mail is just characters. */
  readonly data: (text: string) => number[]
  /** Special tokens that the model expects before and after a text. */
  readonly before: readonly number[]
  readonly after: readonly number[]
  readonly mask: { readonly id: number; readonly text: string }
  readonly padToken: number
  readonly unknownToken: number | undefined
  /** Longest sequence the model has positions for, if it says so. */
  readonly positions: number | undefined
}

/** The special tokens around a text: the encoding of nothing but one probe word, less the word. */
function surroundings(tokenizer: Tokenizer): { before: number[]; after: number[] } {
  const probe = 'a'
  const bare: number[] = tokenizer.encode(probe, { add_special_tokens: false }).ids
  const full: number[] = tokenizer.encode(probe, { add_special_tokens: true }).ids
  for (let start = 0; start + bare.length <= full.length; start++)
    if (bare.every((id, at) => id === full[start + at]))
      return { before: full.slice(0, start), after: full.slice(start + bare.length) }
  throw new EngineError('unsupported_tokenizer', 'tokenizer.json: special tokens do not stand around the text')
}

/** RoBERTa and its like number positions from the padding token on. */
function positionsOf(config: z.infer<typeof modelConfig>): number | undefined {
  const { max_position_embeddings: positions, model_type: type, pad_token_id: pad } = config
  if (!positions) return undefined
  return /roberta|camembert|xlm|mpnet/.test(type ?? '') ? positions - (pad ?? 1) - 1 : positions
}

/** Loads the tokenizer of a model folder. @throws EngineError `missing_tokenizer`, `no_mask_token`, `unsupported_tokenizer`. */
export function loadTokenizer(modelDir: string): ModelTokenizer {
  const file = readJson(modelDir, 'tokenizer.json', tokenizerFile)
  if (!file) throw new EngineError('missing_tokenizer', 'no file tokenizer.json in the model folder')
  const settings = readJson(modelDir, 'tokenizer_config.json', tokenizerConfig) ?? {}
  const config = readJson(modelDir, 'config.json', modelConfig) ?? {}
  const idOf = (content: string | null | undefined): number | undefined =>
    file.added_tokens.find((token) => token.content === content)?.id
  const maskText = settings.mask_token ?? ['[MASK]', '<mask>'].find((content) => idOf(content) !== undefined)
  const maskId = idOf(maskText)
  if (!maskText || maskId === undefined) throw new EngineError('no_mask_token', 'tokenizer.json names no mask token')
  const whole = new Tokenizer(file, settings)
  const plain = new Tokenizer({ ...file, added_tokens: file.added_tokens.filter((token) => !token.special) }, settings)
  return {
    template: (text) => whole.encode(text, { add_special_tokens: false }).ids,
    data: (text) => plain.encode(text, { add_special_tokens: false }).ids,
    ...surroundings(whole),
    mask: { id: maskId, text: maskText },
    padToken: config.pad_token_id ?? idOf(settings.pad_token) ?? 0,
    unknownToken: idOf(settings.unk_token),
    positions: positionsOf(config),
  }
}
