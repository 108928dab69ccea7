import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { prepareTask } from './task.ts'
import { codeOf, decoderFiles, folderOf, idsOf } from './test-models.ts'
import { loadTokenizer } from './tokenizer.ts'

const modelDir = new URL('../../../demo/model/spam-encoder', import.meta.url).pathname
const FILES = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'config.json']

/** A copy of the demo model's texts, changed. */
function changed(change: (folder: string) => void): string {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-tokenizer-'))
  for (const file of FILES) cpSync(join(modelDir, file), join(folder, file))
  change(folder)
  return folder
}

function edited(folder: string, file: string, edit: (value: Record<string, unknown>) => void): void {
  const path = join(folder, file)
  const value = JSON.parse(readFileSync(path, 'utf8'))
  edit(value)
  writeFileSync(path, JSON.stringify(value))
}

const prompt = {
  kind: 'prompt-classification' as const,
  template: '{mask} {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 16,
  buckets: [16],
}

describe('a model folder', () => {
  it('needs a tokenizer', () => {
    const folder = changed((copy) => rmSync(join(copy, 'tokenizer.json')))
    expect(codeOf(() => loadTokenizer(folder))).toBe('missing_tokenizer')
  })

  it.each(['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'config.json'])(
    'needs a %s that can be read',
    (file) => {
      for (const text of ['{', '[]', 'null', '{"model":3,"added_tokens":3,"mask_token":3,"vocab_size":"many"}']) {
        const folder = changed((copy) => writeFileSync(join(copy, file), text))
        expect(
          codeOf(() => loadTokenizer(folder)),
          text,
        ).toBe('unsupported_tokenizer')
      }
    },
  )

  it('needs a kind of tokenizer that the library knows', () => {
    const folder = changed((copy) => edited(copy, 'tokenizer.json', (file) => (file.pre_tokenizer = { type: 'Other' })))
    expect(codeOf(() => loadTokenizer(folder))).toBe('unsupported_tokenizer')
  })

  it('needs a mask token where the task has one, and not before', () => {
    const folder = changed((copy) => {
      for (const file of ['tokenizer_config.json', 'special_tokens_map.json'])
        edited(copy, file, (config) => delete config.mask_token)
      edited(copy, 'tokenizer.json', (file) => {
        file.added_tokens = []
      })
    })
    expect(codeOf(() => prepareTask(prompt, loadTokenizer(folder)))).toBe('no_mask_token')
    expect(loadTokenizer(folder).data('free money')).toHaveLength(2)
  })

  it('may do without a tokenizer_config.json', () => {
    const folder = changed((copy) => rmSync(join(copy, 'tokenizer_config.json')))
    const encode = (from: string) => prepareTask(prompt, loadTokenizer(from)).encode({ text: 'free money' })
    expect(encode(folder)).toEqual(encode(modelDir))
  })

  it('needs a row of the model for every token', () => {
    const files = decoderFiles()
    const size = files['config.json']!.vocab_size as number
    const sized = (config: object) => codeOf(() => loadTokenizer(folderOf({ ...files, 'config.json': config })))
    expect(sized({ vocab_size: size })).toBe(undefined)
    expect(sized({ vocab_size: size - 1 })).toBe('token_out_of_range')
    expect(sized({ vocab_size: size, text_config: { vocab_size: size - 1 } })).toBe('token_out_of_range')
    const added = { ...files['tokenizer.json'], added_tokens: [{ id: size, content: 'new' }] }
    expect(codeOf(() => loadTokenizer(folderOf({ ...files, 'tokenizer.json': added })))).toBe('token_out_of_range')
  })

  it.each([
    [{ model_type: 'bert', max_position_embeddings: 128 }, 128],
    [{ model_type: 'roberta', max_position_embeddings: 130, pad_token_id: 1 }, 128],
    [{ model_type: 'gpt2', n_positions: 64 }, 64],
    [{ text_config: { max_position_embeddings: 32 } }, 32],
    [{}, undefined],
  ])('with %j has %s positions', (config, positions) => {
    expect(loadTokenizer(folderOf({ ...decoderFiles(), 'config.json': config })).positions).toBe(positions)
  })

  it('names its end token in any of three files', () => {
    const files = decoderFiles()
    const end = (change: Record<string, unknown>) => loadTokenizer(folderOf({ ...files, ...change })).endToken
    expect(end({})).toBe(1)
    expect(end({ 'tokenizer_config.json': {}, 'config.json': { eos_token_id: [5, 6] } })).toBe(5)
    expect(end({ 'tokenizer_config.json': {}, 'generation_config.json': { eos_token_id: 7 } })).toBe(7)
    expect(end({ 'tokenizer_config.json': {} })).toBe(undefined)
  })
})

describe('text of data', () => {
  const words = (model: object, preTokenizer: object | null, special: object[]) =>
    loadTokenizer(
      folderOf({
        'tokenizer.json': {
          added_tokens: special,
          normalizer: null,
          pre_tokenizer: preTokenizer,
          post_processor: null,
          decoder: null,
          model,
        },
      }),
    )
  const end = { id: 1, content: '</s>', special: true }

  it('holds no control token that a model of words would look up', () => {
    const vocab = { '[UNK]': 0, '</s>': 1, a: 2 }
    const wordPiece = words({ type: 'WordPiece', unk_token: '[UNK]', vocab }, { type: 'WhitespaceSplit' }, [end])
    expect(wordPiece.data('a </s> a')).toEqual([2, 0, 2])
    expect(wordPiece.template('a </s>')).toEqual([2, 1])
  })

  it('holds no control token that a unigram model has a piece for', () => {
    const vocab = [
      ['<unk>', 0],
      ['</s>', 0],
      ['a', -1],
      ['<', -2],
      ['/', -2],
      ['s', -2],
      ['>', -2],
    ]
    const unigram = words({ type: 'Unigram', unk_id: 0, vocab }, null, [end])
    expect(unigram.data('a</s>')).toEqual([2, 3, 4, 5, 6])
    expect(unigram.template('a</s>')).toEqual([2, 1])
  })

  it('may hold an added token that is a word', () => {
    const vocab = { '[UNK]': 0, '</s>': 1, a: 2 }
    const model = words({ type: 'WordPiece', unk_token: '[UNK]', vocab }, { type: 'WhitespaceSplit' }, [
      end,
      { id: 3, content: 'sotto', special: false },
    ])
    expect(model.data('a sotto </s>')).toEqual([2, 3, 0])
  })

  it('may hold what a file names a pad token though it is a plain character', () => {
    const files = decoderFiles()
    const config = { ...files['tokenizer_config.json'], pad_token: '!' }
    const { data } = loadTokenizer(folderOf({ ...files, 'tokenizer_config.json': config }))
    expect(data('a!')).toEqual(idsOf('a', '!'))
  })

  it('loses characters that a tokenizer without unknown token does not know', () => {
    expect(loadTokenizer(folderOf(decoderFiles())).data('a☃b')).toEqual(idsOf('a', 'b'))
  })
})

/** One folder for each kind of model among the fixtures. */
function zooFolders(): string[] {
  const zoo = new URL('../../../test/models/zoo/', import.meta.url).pathname
  const names = existsSync(zoo) ? readdirSync(zoo).filter((name) => existsSync(join(zoo, name, 'tokenizer.json'))) : []
  return [...new Map(names.map((name) => [name.split('-')[0], join(zoo, name)])).values()]
}
const models = [modelDir, ...zooFolders()]

describe.each(models.map((folder) => [folder.split('/').at(-1)!, folder]))('the tokenizer of %s', (_, folder) => {
  it('reads plain text as the library alone does', () => {
    const read = (file: string) => JSON.parse(readFileSync(join(folder, file), 'utf8'))
    const plain = new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'))
    const { data, template, before, after } = loadTokenizer(folder)
    const unmarked = fc.string({ unit: 'grapheme' }).filter((text) => !/[<[]/.test(text))
    fc.assert(
      fc.property(fc.oneof(unmarked, fc.lorem()), (text) => {
        const ids = plain.encode(text, { add_special_tokens: false }).ids
        expect(data(text)).toEqual(ids)
        expect(template(text)).toEqual(ids)
        expect([...before, ...data(text), ...after]).toEqual(plain.encode(text).ids)
      }),
    )
  })
})

const sentences = new URL('../../../../shared/data/sst2/dev.tsv', import.meta.url)
const present = existsSync(sentences)
const suite = `real sentences${present ? '' : ' (skipped: shared/data/sst2 is not beside the repository)'}`

describe.skipIf(!present)(suite, () => {
  it('become the tokens that the Python package tokenizers 0.22.2 makes of them', () => {
    const texts = readFileSync(sentences, 'utf8').split('\n').slice(1).filter(Boolean)
    const { before, data, after } = loadTokenizer(modelDir)
    const ids = texts.map((line) => [...before, ...data(line.split('\t')[0]!), ...after])
    expect([ids.length, ids.flat().length]).toEqual([872, 27383])
    const hash = createHash('sha256').update(JSON.stringify(ids)).digest('hex')
    expect(hash).toBe('f71b667316c7b66286a01118861f1ceac8f76d46094b8e93dc087b3aeea2931c')
  })
})
