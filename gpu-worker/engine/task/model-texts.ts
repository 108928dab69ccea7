import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { EngineError } from '../error.ts'

const tokenId = z.int().nonnegative()
const addedToken = z.looseObject({ id: tokenId, content: z.string().min(1), special: z.boolean().default(false) })

/** The files of a model folder that say how text becomes tokens; unknown keys are other tools' business. */
const tokenizerFile = z.looseObject({
  added_tokens: z.array(addedToken).default([]),
  model: z.looseObject({
    unk_token: z.string().nullish(),
    // Not looked into entry by entry: a large vocabulary has hundreds of thousands.
    vocab: z.custom<Record<string, number> | [string, number][]>(
      (vocab) => typeof vocab === 'object' && vocab !== null,
    ),
  }),
})
const namedToken = z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)])
const namedTokens = {
  bos_token: namedToken.nullish(),
  eos_token: namedToken.nullish(),
  unk_token: namedToken.nullish(),
  sep_token: namedToken.nullish(),
  pad_token: namedToken.nullish(),
  cls_token: namedToken.nullish(),
  mask_token: namedToken.nullish(),
}
/** Names of the tokens that a tokenizer_config.json may name. */
export const TOKEN_NAMES = Object.keys(namedTokens) as (keyof typeof namedTokens)[]
const specialTokensMap = z.looseObject(namedTokens)
const tokenizerConfig = z.looseObject({
  ...namedTokens,
  additional_special_tokens: z.array(namedToken).nullish(),
  chat_template: z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]).nullish(),
})
const tokenIds = z.union([tokenId, z.array(tokenId).min(1)]).nullish()
const size = z.int().positive().nullish()
const decoderConfig = z.looseObject({
  vocab_size: size,
  max_position_embeddings: size,
  n_positions: size,
  model_type: z.string().nullish(),
  pad_token_id: z.int().nullish(),
  eos_token_id: tokenIds,
})
const modelConfig = decoderConfig.extend({
  num_labels: size,
  id2label: z.record(z.string(), z.unknown()).nullish(),
  // Of a model of several kinds of input: what concerns text stands one level down.
  text_config: decoderConfig.nullish(),
})
const generationConfig = z.looseObject({ eos_token_id: tokenIds })

/** What a model folder says of text; absent files as if they said nothing. */
export interface ModelTexts {
  readonly tokenizer: z.infer<typeof tokenizerFile>
  readonly settings: z.infer<typeof tokenizerConfig>
  readonly config: z.infer<typeof modelConfig>
  readonly generation: z.infer<typeof generationConfig>
  /** Jinja source of the chat template. */
  readonly chatTemplate: string | undefined
}

function readText(modelDir: string, file: string): string | undefined {
  const path = join(modelDir, file)
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

function readJson<T>(modelDir: string, file: string, schema: z.ZodType<T>): T | undefined {
  const text = readText(modelDir, file)
  if (text === undefined) return undefined
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new EngineError('unsupported_tokenizer', `${file} is not what it should be: export the model again`, {
      cause,
    })
  }
}

/** A file of its own goes before tokenizer_config.json, as in transformers. */
function chatTemplateOf(modelDir: string, settings: z.infer<typeof tokenizerConfig>): string | undefined {
  const { chat_template: inConfig } = settings
  const named = Array.isArray(inConfig) ? inConfig.find(({ name }) => name === 'default')?.template : inConfig
  return readText(modelDir, 'chat_template.jinja') ?? named ?? undefined
}

/**
 * Reads the texts of a model folder. @throws EngineError `missing_tokenizer`, `unsupported_tokenizer`, naming the file.
 */
export function readModelTexts(modelDir: string): ModelTexts {
  const tokenizer = readJson(modelDir, 'tokenizer.json', tokenizerFile)
  if (!tokenizer) {
    throw new EngineError(
      'missing_tokenizer',
      'no file tokenizer.json in the model folder: save a fast tokenizer there',
    )
  }
  // Older folders name their tokens in a file beside tokenizer_config.json.
  const map = readJson(modelDir, 'special_tokens_map.json', specialTokensMap)
  const settings = { ...map, ...readJson(modelDir, 'tokenizer_config.json', tokenizerConfig) }
  return {
    tokenizer,
    settings,
    config: readJson(modelDir, 'config.json', modelConfig) ?? {},
    generation: readJson(modelDir, 'generation_config.json', generationConfig) ?? {},
    chatTemplate: chatTemplateOf(modelDir, settings),
  }
}
