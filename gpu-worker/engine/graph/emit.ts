import {
  closeSync,
  copyFileSync,
  constants as FS,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { create, toBinary } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import {
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  ModelProtoSchema,
  type TensorProto,
  type ValueInfoProto,
} from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { valueInfo } from './split.ts'
import { dimsOf, placeOf, readPlace, referenceTensor, type WeightPlace } from './tensor.ts'

/**
 * Writing rewritten graphs. The runtime maps weights from files that lie in the folder of the model file, and refuses any
 * that leave it, symbolic links too: so a rewritten graph, a few kilobytes, is written beside HARD links to the files that
 * hold its weights, and what was made anew goes into one data file.
 */

/** Constants of more bytes than this go into the data file. */
const INLINE_BYTES = 1024
const DATA_FILE = 'made.data'
const MODEL_FILE = 'model.onnx'

/** Begins the name of everything written here; the process that wrote it follows. */
const MARK = '.sotto-graph-'
const DAY_MS = 24 * 3600 * 1000
const swept = new Set<string>()

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/**
 * Removes what killed processes left behind, once for each place. Only what is a day old: another container may share the
 * folder and not the process numbers.
 */
export function sweep(place: string, now = Date.now()): void {
  if (swept.has(place)) return
  swept.add(place)
  for (const name of readdirSync(place).filter((each) => each.startsWith(MARK))) {
    const path = join(place, name)
    const age = now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? now)
    const pid = Number(name.slice(MARK.length).split('-')[0])
    if (age > DAY_MS && !isAlive(pid)) rmSync(path, { recursive: true, force: true })
  }
}

/** A path in the system's folder for such files, for what lives as long as a model. */
export const scratchPath = (name: string): string => join(tmpdir(), `${MARK}${process.pid}-${name}`)

const sameDevice = (a: string, b: string): boolean => statSync(a).dev === statSync(b).dev

/** A fresh folder on the device of the weights, where that can be written, so that links are possible. */
function freshFolder(near: string | undefined): string {
  const places = near === undefined || sameDevice(near, tmpdir()) ? [tmpdir()] : [dirname(dirname(near)), tmpdir()]
  for (const place of places) {
    try {
      const folder = mkdtempSync(join(place, `${MARK}${process.pid}-`))
      sweep(place)
      return folder
    } catch {
      // Not writable: the next place.
    }
  }
  throw new EngineError('no_room', `cannot write to ${tmpdir()}: set TMPDIR to a folder that can be written`)
}

/** Makes a file appear in another folder: a link where the device is the same, else a copy. */
function bring(path: string, target: string): void {
  try {
    linkSync(path, target)
  } catch {
    copyFileSync(path, target, FS.COPYFILE_FICLONE)
  }
}

/** Appends constants made in memory to one file. */
class DataFile {
  readonly path: string
  #file: number | undefined
  #at = 0

  constructor(path: string) {
    this.path = path
  }

  /** @returns where the bytes lie. */
  append(parts: readonly (WeightPlace | Uint8Array)[]): WeightPlace {
    const offset = this.#at
    for (const part of parts)
      for (const bytes of part instanceof Uint8Array ? [part] : piecesOf(part)) this.#write(bytes)
    const length = this.#at - offset
    // Weights begin where a cache line does: kernels read them with aligned loads.
    this.#write(new Uint8Array(-length & 63))
    return { path: this.path, offset, length }
  }

  #write(bytes: Uint8Array): void {
    this.#file ??= openSync(this.path, 'w')
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at, Math.min(bytes.length - at, 2 ** 30))
    this.#at += bytes.length
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
  }
}

const PIECE = 2 ** 20

/** The bytes of a place, piece by piece. */
function* piecesOf({ path, offset, length }: WeightPlace): Generator<Uint8Array> {
  for (let at = 0; at < length; at += PIECE)
    yield readPlace({ path, offset: offset + at, length: Math.min(PIECE, length - at) })
}

/**
 * Float16 constants that a Cast widens, declared as inputs with a value of their own. The runtime resolves what is made of
 * constants alone when it opens a session, and would keep the wide matrix; of what might be fed it can not.
 */
function keptHalves(graph: Graph): ValueInfoProto[] {
  const widened = new Set(graph.nodes.flatMap(({ opType, input }) => (opType === 'Cast' ? input : [])))
  return [...graph.constants].flatMap(([name, tensor]) =>
    tensor.dataType === DataType.FLOAT16 && widened.has(name)
      ? [valueInfo(name, DataType.FLOAT16, dimsOf(tensor))]
      : [],
  )
}

/** The bytes of an ONNX model holding this graph with these constants. */
function modelBytes(graph: Graph, constants: readonly TensorProto[]): Uint8Array {
  const model = create(ModelProtoSchema, {
    irVersion: graph.irVersion,
    opsetImport: graph.opsets,
    producerName: 'sotto',
    graph: create(GraphProtoSchema, {
      name: 'sotto',
      node: graph.nodes,
      initializer: [...constants],
      input: [...graph.inputs, ...(graph.keepsHalves ? keptHalves(graph) : [])],
      output: graph.outputs,
    }),
  })
  return toBinary(ModelProtoSchema, model)
}

/** A graph written to a folder of its own. */
export interface WrittenGraph {
  /** Path of the model file. */
  readonly path: string
  /** Removes the folder. A session made from it keeps its mapped files until it is released. */
  remove(): void
}

/** Writes a graph for the runtime to read. @throws EngineError `no_room` */
export function writeGraph(graph: Graph): WrittenGraph {
  const places = [...graph.constants.values()].flatMap((tensor) => placeOf(tensor)?.path ?? [])
  const folder = freshFolder(places[0])
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  try {
    const links = new Map<string, string>()
    const linkOf = (path: string): string => {
      const known = links.get(path)
      if (known !== undefined) return known
      const link = `weights-${links.size}`
      bring(path, join(folder, link))
      links.set(path, link)
      return link
    }
    const data = new DataFile(join(folder, DATA_FILE))
    const constants = [...graph.constants].map(([name, tensor]) => {
      const named = tensor.name === name ? tensor : { ...tensor, name }
      const place = placeOf(named)
      if (place) return referenceTensor(named, place, linkOf(place.path))
      const parts = graph.joined.get(name)
      if (parts) return referenceTensor(named, data.append(parts), DATA_FILE)
      const raw = named.rawData
      if (!raw || raw.length <= INLINE_BYTES) return named
      return referenceTensor(named, data.append([raw]), DATA_FILE)
    })
    data.close()
    writeFileSync(join(folder, MODEL_FILE), modelBytes(graph, constants))
    return { path: join(folder, MODEL_FILE), remove }
  } catch (cause) {
    remove()
    if (cause instanceof EngineError) throw cause
    throw new EngineError('no_room', `cannot write the rewritten graph under ${dirname(folder)}: is the disk full?`, {
      cause,
    })
  }
}

/** Moves the large constants of a graph that lie in memory into a file, so that the graph costs no memory. */
export function spill(graph: Graph, path: string): void {
  mkdirSync(dirname(path), { recursive: true })
  const data = new DataFile(path)
  for (const [name, tensor] of graph.constants) {
    const raw = tensor.rawData
    if (placeOf(tensor) || !raw || raw.length <= INLINE_BYTES) continue
    graph.constants.set(name, referenceTensor({ ...tensor, name }, data.append([raw])))
  }
  data.close()
}
