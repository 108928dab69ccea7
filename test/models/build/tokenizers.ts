/** tokenizer.json and tokenizer_config.json. */
export interface TokenizerFiles {
  readonly tokenizer: object
  readonly settings: object
}

const LETTERS = [...'abcdefghijklmnopqrstuvwxyz']
const OTHERS = [...'0123456789.,!?;:\'"()-$%&/']
const WORDS = (
  'the a of to and in is was it for on that he she they with as his her at by this had not are but from or have an one ' +
  'work money free offer list price good bad great poor meeting win click story dog cat day went park ball play red big'
).split(' ')

const special = (id: number, content: string) => ({
  id,
  content,
  special: true,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
})

/**
 * Lower-case WordPiece with single letters and a few words: every text has tokens, all below `vocabulary`.
 * @throws RangeError where not even the special tokens fit.
 */
export function wordPieces(vocabulary: number): TokenizerFiles {
  const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
  if (vocabulary < specials.length) throw new RangeError('a vocabulary holds at least the five special tokens')
  const pieces = [...specials, ...LETTERS, ...LETTERS.map((letter) => `##${letter}`), ...OTHERS, ...WORDS]
  const vocab = Object.fromEntries([...new Set(pieces)].slice(0, vocabulary).map((piece, id) => [piece, id]))
  const around = (before: string, after: string, text: 'A' | 'B') => [
    ...(before === '' ? [] : [{ SpecialToken: { id: before, type_id: 0 } }]),
    { Sequence: { id: text, type_id: text === 'A' ? 0 : 1 } },
    { SpecialToken: { id: after, type_id: text === 'A' ? 0 : 1 } },
  ]
  const single = around('[CLS]', '[SEP]', 'A')
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specials.map((content, id) => special(id, content)),
      normalizer: {
        type: 'BertNormalizer',
        clean_text: true,
        handle_chinese_chars: true,
        strip_accents: null,
        lowercase: true,
      },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      post_processor: {
        type: 'TemplateProcessing',
        single,
        pair: [...single, ...around('', '[SEP]', 'B')],
        special_tokens: Object.fromEntries(
          ['[CLS]', '[SEP]'].map((content) => [
            content,
            { id: content, ids: [specials.indexOf(content)], tokens: [content] },
          ]),
        ),
      },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
      model: {
        type: 'WordPiece',
        unk_token: '[UNK]',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
        vocab,
      },
    },
    settings: {
      tokenizer_class: 'BertTokenizer',
      do_lower_case: true,
      unk_token: '[UNK]',
      sep_token: '[SEP]',
      pad_token: '[PAD]',
      cls_token: '[CLS]',
      mask_token: '[MASK]',
    },
  }
}

/** How SentencePiece writes a space. */
export const SPACE = '\u2581'

/** `<0x0A>` and the like: how a byte outside the vocabulary's characters is written. */
const BYTES = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)

export interface PieceVocabulary {
  /** Pieces by id: `<unk>`, `<s>`, `</s>`, the rest with SPACE for a space. */
  readonly pieces: readonly string[]
  /** Pairs to join, the first of the list before all others. */
  readonly merges: readonly (readonly [string, string])[]
}

/** Byte-pair tokenizer as Llama 2 has it: a space before the text, `<s>` before that, bytes for unknown characters. */
export function llamaPieces({ pieces, merges }: PieceVocabulary): TokenizerFiles {
  const [unknown, begin, end] = pieces as [string, string, string]
  const text = (id: 'A' | 'B') => ({ Sequence: { id, type_id: 0 } })
  const start = { SpecialToken: { id: begin, type_id: 0 } }
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [unknown, begin, end].map((content, id) => special(id, content)),
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: SPACE },
          { type: 'Replace', pattern: { String: ' ' }, content: SPACE },
        ],
      },
      pre_tokenizer: null,
      post_processor: {
        type: 'TemplateProcessing',
        single: [start, text('A')],
        pair: [start, text('A'), start, text('B')],
        special_tokens: { [begin]: { id: begin, ids: [1], tokens: [begin] } },
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: unknown,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: BYTES.every((byte) => pieces.includes(byte)),
        vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
        merges: merges.map((pair) => pair.join(' ')),
      },
    },
    settings: {
      tokenizer_class: 'LlamaTokenizer',
      add_bos_token: true,
      add_eos_token: false,
      bos_token: begin,
      eos_token: end,
      unk_token: unknown,
    },
  }
}

/** A vocabulary without merges: bytes where they fit, letters, words of one piece none. */
export function characterPieces(vocabulary: number): PieceVocabulary {
  if (vocabulary < 4) throw new RangeError('a vocabulary holds the three special tokens and the space')
  const characters = [SPACE, ...LETTERS, ...LETTERS.map((letter) => letter.toUpperCase()), ...OTHERS]
  const bytes = vocabulary >= 3 + BYTES.length + characters.length ? BYTES : []
  return { pieces: ['<unk>', '<s>', '</s>', ...bytes, ...characters].slice(0, vocabulary), merges: [] }
}
