import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PieceVocabulary, SPACE, type WeightSource, writeDecoder } from './build/index.ts'

/**
 * Reads checkpoints of llama2.c in its legacy format (little-endian: seven int32, then float32 tensors one after another)
 * and writes them in Hugging Face layout. The output head is the embedding table.
 */

export interface CheckpointSize {
  readonly dim: number
  readonly hiddenDim: number
  readonly layers: number
  readonly heads: number
  readonly kvHeads: number
  readonly vocabulary: number
  readonly positions: number
}

/** Tensors of one kind for all layers: [layers, rows, columns], or [layers, columns] for norms. */
type TensorName = 'embedding' | 'rmsAtt' | 'wq' | 'wk' | 'wv' | 'wo' | 'rmsFfn' | 'w1' | 'w2' | 'w3' | 'rmsFinal'

export interface Checkpoint {
  readonly size: CheckpointSize
  /** Row-major, weights [outputs, inputs]. */
  readonly tensors: Readonly<Record<TensorName, Float32Array>>
}

const HEADER_BYTES = 28

/** @throws RangeError where the head is not tied (a negative vocabulary size) or the file is too short. */
export function readCheckpoint(path: string): Checkpoint {
  const bytes = readFileSync(path)
  const int = (at: number) => bytes.readInt32LE(4 * at)
  const [dim, hiddenDim, layers, heads, kvHeads, vocabulary, positions] = [0, 1, 2, 3, 4, 5, 6].map(int) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  if (vocabulary <= 0) throw new RangeError('a checkpoint with a head of its own is not read')
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset + HEADER_BYTES, bytes.byteOffset + bytes.length))
  const kvDim = (dim / heads) * kvHeads
  let at = 0
  const take = (length: number): Float32Array => {
    if (at + length > values.length) throw new RangeError('the checkpoint ends early')
    at += length
    return values.subarray(at - length, at)
  }
  // The order of the file.
  const tensors = {
    embedding: take(vocabulary * dim),
    rmsAtt: take(layers * dim),
    wq: take(layers * dim * dim),
    wk: take(layers * kvDim * dim),
    wv: take(layers * kvDim * dim),
    wo: take(layers * dim * dim),
    rmsFfn: take(layers * dim),
    w1: take(layers * hiddenDim * dim),
    w2: take(layers * dim * hiddenDim),
    w3: take(layers * hiddenDim * dim),
    rmsFinal: take(dim),
  }
  return { size: { dim, hiddenDim, layers, heads, kvHeads, vocabulary, positions }, tensors }
}

export interface ScoredPiece {
  readonly piece: string
  readonly score: number
}

/** `tokenizer.bin`: int32 longest piece, then for each a float32 score, an int32 length and its bytes. */
function binaryPieces(bytes: Buffer): ScoredPiece[] {
  const pieces: ScoredPiece[] = []
  for (let at = 4; at < bytes.length; ) {
    const [score, length] = [bytes.readFloatLE(at), bytes.readInt32LE(at + 4)]
    pieces.push({ score, piece: bytes.toString('utf8', at + 8, at + 8 + length) })
    at += 8 + length
  }
  // The file writes spaces as they are and puts line ends around the marks of beginning and end.
  return pieces.map(({ piece, score }, id) => ({
    score,
    piece: id < 3 ? piece.trim() : piece.replaceAll(' ', SPACE),
  }))
}

/** `*.vocab` of SentencePiece: a line for each piece, its score after a tab. */
const textPieces = (text: string): ScoredPiece[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const tab = line.lastIndexOf('\t')
      return { piece: line.slice(0, tab), score: Number(line.slice(tab + 1)) }
    })

/** Pieces by id of a folder with `tokenizer.bin` or a `.vocab` file. */
export function readPieces(folder: string): ScoredPiece[] {
  const binary = join(folder, 'tokenizer.bin')
  if (existsSync(binary)) return binaryPieces(readFileSync(binary))
  return textPieces(readFileSync(join(folder, 'tok105.vocab'), 'utf8'))
}

const FIRST_MERGED = 3

/**
 * Merges in order of rank: SentencePiece joins the neighbours whose joined piece has the best score, so every way to cut a
 * piece in two pieces becomes a merge of that piece's rank.
 */
export function mergesOf(pieces: readonly ScoredPiece[]): [string, string][] {
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]))
  const cuts = (piece: string): [string, string][] => {
    const characters = [...piece]
    return characters
      .slice(1)
      .map((_, at): [string, string] => [characters.slice(0, at + 1).join(''), characters.slice(at + 1).join('')])
      .filter((pair) => pair.every((part) => ids.has(part)))
  }
  return pieces
    .slice(FIRST_MERGED)
    .filter(({ piece }) => !/^<0x..>$/.test(piece))
    .toSorted((a, b) => b.score - a.score)
    .flatMap(({ piece }) => cuts(piece))
}

/** A matrix [rows, columns] turned. */
function turned(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c]!
  return out
}

/**
 * Rows of a query or key weight in the order of transformers: llama2.c turns the pairs (2 i, 2 i + 1) of a head,
 * transformers the pairs (i, i + width / 2).
 */
function pairsApart(values: Float32Array, columns: number, width: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let row = 0; row < values.length / columns; row++) {
    const [head, at] = [Math.floor(row / width), row % width]
    const to = head * width + (at % 2) * (width / 2) + Math.floor(at / 2)
    out.set(values.subarray(row * columns, (row + 1) * columns), to * columns)
  }
  return out
}

const PROJECTIONS: Readonly<Record<string, TensorName>> = {
  'self_attn.q_proj': 'wq',
  'self_attn.k_proj': 'wk',
  'self_attn.v_proj': 'wv',
  'self_attn.o_proj': 'wo',
  'mlp.gate_proj': 'w1',
  'mlp.down_proj': 'w2',
  'mlp.up_proj': 'w3',
}
const NORMS: Readonly<Record<string, TensorName>> = { input_layernorm: 'rmsAtt', post_attention_layernorm: 'rmsFfn' }

/** The elements of a weight of transformers' Llama, by its name. */
function valuesOf({ size, tensors }: Checkpoint, name: string, [inputs, outputs]: readonly number[]): Float32Array {
  if (name === 'model.embed_tokens.weight') return tensors.embedding
  if (name === 'model.norm.weight') return tensors.rmsFinal
  const [, index, module] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) as unknown as [string, string, string]
  const kind = PROJECTIONS[module] ?? NORMS[module]!
  const length = tensors[kind].length / size.layers
  const layer = tensors[kind].subarray(Number(index) * length, (Number(index) + 1) * length)
  if (outputs === undefined) return layer
  const paired = kind === 'wq' || kind === 'wk'
  return turned(paired ? pairsApart(layer, inputs!, size.dim / size.heads) : layer, outputs, inputs!)
}

/** Writes the model of `folder` (`checkpoint.bin` and its vocabulary) to `dir`. @returns the file of the graph. */
export function convertLlama2c(folder: string, dir: string): string {
  const checkpoint = readCheckpoint(join(folder, 'checkpoint.bin'))
  const { dim, hiddenDim, ...size } = checkpoint.size
  const weights: WeightSource = (name, dims) => {
    const values = valuesOf(checkpoint, name, dims)
    return (chunk, from) => chunk.set(values.subarray(from, from + chunk.length))
  }
  const scored = readPieces(folder)
  const vocabulary: PieceVocabulary = { pieces: scored.map(({ piece }) => piece), merges: mergesOf(scored) }
  return writeDecoder(
    dir,
    { ...size, hidden: dim, intermediate: hiddenDim, form: 'rotary', tied: true, seed: 0 },
    { weights, vocabulary },
  )
}
