import { Tokenizer } from '@huggingface/tokenizers'
import { EngineError } from '../error.ts'
import { openChatTemplate } from './chat.ts'
import { type Controls, type ControlToken, openControls } from './controls.ts'
import { type ModelTexts, readModelTexts, TOKEN_NAMES } from './model-texts.ts'

export interface ModelTokenizer {
  /** Tokens of a text that may hold control tokens by name: a template of the run's. */
  readonly template: (text: string) => number[]
  /** Tokens of text from the data, in which no control token is recognised: `[MASK]` in a mail is just characters. */
  readonly data: (text: string) => number[]
  /** Data made ready to be put into a chat template's text. */
  readonly fence: (text: string) => string
  /** Tokens of what a chat template made of fenced data. */
  readonly rendered: (text: string) => number[]
  /** Control tokens that the model expects before and after a text. */
  readonly before: readonly number[]
  readonly after: readonly number[]
  readonly mask: { readonly id: number; readonly text: string } | undefined
  /** What pads a record; `padNamed` says whether config.json names it. */
  readonly padToken: number
  readonly padNamed: boolean
  /** What ends a completion. */
  readonly endToken: number | undefined
  readonly unknownToken: number | undefined
  /** Longest sequence the model has positions for, if it says so. */
  readonly positions: number | undefined
  /** Classes of the model's head, if it says so. */
  readonly classes: number | undefined
  /** Jinja source of the chat template. */
  readonly chatTemplate: string | undefined
  /** Texts of the named tokens, as chat templates want them: `bos_token` and so on. */
  readonly tokenTexts: Readonly<Record<string, string>>
}

type AddedTokens = ModelTexts['tokenizer']['added_tokens']
type IdOf = (content: string | null | undefined) => number | undefined

/**
 * Added tokens that a chat template puts round a user's message, though the tokenizer does not call them special:
 * whoever could write them could forge a turn.
 */
function turnMarkers({ tokenizer, chatTemplate }: ModelTexts, tokenTexts: Record<string, string>): string[] {
  if (chatTemplate === undefined) return []
  try {
    const turn = openChatTemplate(chatTemplate, tokenTexts)([{ role: 'user', content: 'a' }], true)
    return tokenizer.added_tokens.map(({ content }) => content).filter((content) => turn.includes(content))
  } catch {
    // A task that needs the template says so.
    return []
  }
}

/** A name in brackets is no word of a language, whatever else the tokenizer says of it. */
const BRACKETED = /^[<[].+[>\]]$/

/** Every token that is control by what the model folder says of it. */
function controlTokens(texts: ModelTexts, tokenTexts: Record<string, string>, idOf: IdOf): ControlToken[] {
  const { tokenizer, settings } = texts
  const added = new Set(tokenizer.added_tokens.map(({ content }) => content))
  const special = tokenizer.added_tokens.filter((token) => token.special).map(({ content }) => content)
  const named = [...Object.values(tokenTexts), ...(settings.additional_special_tokens ?? [])].filter(
    (content) => added.has(content) || BRACKETED.test(content),
  )
  return [...new Set([...special, ...named, ...turnMarkers(texts, tokenTexts)])].flatMap((content) => {
    const id = idOf(content)
    return id === undefined ? [] : [{ id, content }]
  })
}

/**
 * The vocabulary without control tokens, since a model that looks words up would find them in text. The unknown token
 * stays: the model answers it by name, and text that spells it is as unknown as any.
 */
function withoutControls(model: ModelTexts['tokenizer']['model'], contents: ReadonlySet<string>): object {
  const { vocab, unk_token: unknown, unk_id: unknownId } = model as typeof model & { unk_id?: number }
  if (Array.isArray(vocab)) {
    // Of a unigram model: an id is an index, and an empty piece is never met.
    const pieces = vocab.map(([piece, score], id) => [contents.has(piece) && id !== unknownId ? '' : piece, score])
    return { ...model, vocab: pieces }
  }
  const kept = { ...vocab }
  for (const content of contents) if (content !== unknown) delete kept[content]
  return { ...model, vocab: kept }
}

/** @throws EngineError `unsupported_tokenizer` where the library knows no such tokenizer. */
function openTokenizer(file: object, settings: object): Tokenizer {
  try {
    return new Tokenizer(file, settings)
  } catch (cause) {
    throw new EngineError('unsupported_tokenizer', 'tokenizer.json: its kind of tokenizer is not supported', { cause })
  }
}

/** A tokenizer in which control tokens go by stand-ins. */
function openGuarded(
  { tokenizer, settings }: ModelTexts,
  controls: Controls,
  tokens: readonly ControlToken[],
): (text: string) => number[] {
  const contents = new Set(tokens.map(({ content }) => content))
  const isControl = ({ content }: { content: string }): boolean => contents.has(content)
  const added: AddedTokens = tokenizer.added_tokens.filter((token) => !isControl(token))
  const known = new Map(tokenizer.added_tokens.map((token) => [token.content, token]))
  const guarded = tokens.map((token) => ({
    ...known.get(token.content),
    id: token.id,
    content: controls.standIn(token),
    special: true,
    normalized: false,
  }))
  const model = withoutControls(tokenizer.model, contents)
  // Special tokens are put round a text by whoever encodes it.
  const file = { ...tokenizer, model, added_tokens: [...added, ...guarded], post_processor: null }
  const whole = openTokenizer(file, settings)
  // A tokenizer without unknown token has no id for a character that it does not know.
  return (text) =>
    whole.encode(text, { add_special_tokens: false }).ids.filter((id: number | undefined) => id !== undefined)
}

/** The control tokens around a text: the encoding of nothing but one probe, less the probe. */
function surroundings(tokenizer: Tokenizer, added: AddedTokens): { before: number[]; after: number[] } {
  const encode = (text: string, special: boolean): number[] =>
    tokenizer.encode(text, { add_special_tokens: special }).ids
  const probe = ['a', ...added.map(({ content }) => content)].find((text) => encode(text, false).length > 0)
  if (probe === undefined) throw new EngineError('unsupported_tokenizer', 'tokenizer.json: it encodes nothing')
  const [bare, full] = [encode(probe, false), encode(probe, true)]
  for (let start = 0; start + bare.length <= full.length; start++)
    if (bare.every((id, at) => id === full[start + at]))
      return { before: full.slice(0, start), after: full.slice(start + bare.length) }
  throw new EngineError('unsupported_tokenizer', 'tokenizer.json: special tokens do not stand around the text')
}

/** Models that number positions from behind the padding token on. */
const POSITIONS_BEHIND_PADDING =
  /roberta|camembert|xlm|mpnet|longformer|luke|data2vec-text|ibert|xmod|lilt|markuplm|esm/

function positionsOf(config: ModelTexts['config']): number | undefined {
  const text = config.text_config ?? config
  const positions = text.max_position_embeddings ?? text.n_positions ?? undefined
  if (positions === undefined || !POSITIONS_BEHIND_PADDING.test(text.model_type ?? '')) return positions
  return positions - (text.pad_token_id ?? 1) - 1
}

/** Largest id that the tokenizer can answer. */
function largestId({ model, added_tokens }: ModelTexts['tokenizer']): number {
  let largest = Array.isArray(model.vocab) ? model.vocab.length - 1 : -1
  if (!Array.isArray(model.vocab)) for (const id of Object.values(model.vocab)) if (id > largest) largest = id
  for (const { id } of added_tokens) if (id > largest) largest = id
  return largest
}

/** @throws EngineError `token_out_of_range` where the tokenizer knows a token that the model has no row for. */
function checkVocabulary({ tokenizer, config }: ModelTexts): void {
  const rows = (config.text_config ?? config).vocab_size ?? Number.POSITIVE_INFINITY
  const largest = largestId(tokenizer)
  if (largest >= rows)
    throw new EngineError(
      'token_out_of_range',
      `tokenizer.json has token ${largest}, config.json a vocabulary of ${rows}: they are not of one model`,
    )
}

const first = (ids: number | number[] | null | undefined): number | undefined =>
  (Array.isArray(ids) ? ids[0] : ids) ?? undefined

/** What the files of a model folder say beside the tokens of a text. */
function tokenFacts({ tokenizer, settings, config, generation }: ModelTexts, idOf: IdOf) {
  const text = config.text_config ?? config
  const maskText =
    settings.mask_token ??
    ['[MASK]', '<mask>'].find((content) => tokenizer.added_tokens.some((token) => token.content === content))
  const maskId = idOf(maskText)
  const padId = text.pad_token_id ?? -1
  return {
    mask: maskText && maskId !== undefined ? { id: maskId, text: maskText } : undefined,
    padNamed: padId >= 0,
    padToken: padId >= 0 ? padId : (idOf(settings.pad_token) ?? 0),
    endToken: idOf(settings.eos_token) ?? first(text.eos_token_id) ?? first(generation.eos_token_id),
    unknownToken: idOf(settings.unk_token ?? tokenizer.model.unk_token),
    positions: positionsOf(config),
    classes: config.id2label ? Object.keys(config.id2label).length : (config.num_labels ?? undefined),
  }
}

/**
 * Loads the tokenizer of a model folder.
 * @throws EngineError `missing_tokenizer`, `unsupported_tokenizer`, `token_out_of_range`, naming the file.
 */
export function loadTokenizer(modelDir: string): ModelTokenizer {
  const texts = readModelTexts(modelDir)
  checkVocabulary(texts)
  const { tokenizer, settings, chatTemplate } = texts
  const whole = openTokenizer(tokenizer, settings)
  const idOf: IdOf = (content) => (content == null ? undefined : whole.token_to_id(content))
  const tokenTexts = Object.fromEntries(
    TOKEN_NAMES.flatMap((name) => (settings[name] ? [[name, settings[name]] as const] : [])),
  )
  const tokens = controlTokens(texts, tokenTexts, idOf)
  const controls = openControls(tokens)
  const encode = openGuarded(texts, controls, tokens)
  return {
    ...tokenFacts(texts, idOf),
    ...surroundings(whole, tokenizer.added_tokens),
    chatTemplate,
    tokenTexts,
    template: (text) => encode(controls.mark(controls.clean(text))),
    data: (text) => encode(controls.clean(text)),
    fence: controls.fence,
    rendered: (text) => encode(controls.mark(text)),
  }
}
