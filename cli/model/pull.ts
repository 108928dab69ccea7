import { createHash, randomUUID } from 'node:crypto'
import { lstatSync, mkdirSync, statSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { z } from 'zod'
import { modelSchema } from '../../shared/api/index.ts'
import { hashOf } from '../../shared/ledger/index.ts'
import { type ConnectionGiven, type Session, withCoordinator } from '../connection/index.ts'
import { InputError, RunError, UnreachableError } from '../failure.ts'
import { type Progress, startProgress } from '../progress.ts'
import { sha256Of } from '../reading.ts'

export interface PullGiven extends ConnectionGiven {
  readonly output: string
}

type Model = z.infer<typeof modelSchema>
type ModelFile = Model['files'][number]

const MIB = 2 ** 20
const AGAIN = 'The same command goes on with what is missing'

/** `sotto model pull`. @throws InputError, RefusedError, UnreachableError, RunError */
export const runPull = async (id: string, given: PullGiven): Promise<void> => {
  if (!/^[0-9a-f]{64}$/.test(id)) throw new InputError(`${id} is no id of a model: 64 hexadecimal digits`)
  await withCoordinator(given, async (session) => {
    const { files } = await modelOf(id, session)
    const missing: ModelFile[] = []
    for (const file of files) if (!(await isThere(join(given.output, file.path), file))) missing.push(file)
    const total = missing.reduce((sum, { bytes }) => sum + bytes, 0)
    const progress = startProgress(Math.ceil(total / MIB), process.stderr, ' MiB')
    try {
      const count = counted(progress)
      for (const file of missing) await fetched(id, file, { session, folder: given.output, count })
    } finally {
      progress.done()
    }
    const kept = files.length - missing.length
    const told = { id, output: given.output, files: files.length, bytes: total, kept }
    session.tell(
      told,
      `${missing.length} files (${total} bytes) were written to ${given.output}, ${kept} were there: the model is whole.\n`,
    )
  })
}

/** A model whose manifest is what its id says, whoever answers. @throws SottoError, RunError */
async function modelOf(id: string, { api, answer }: Session): Promise<Model> {
  const { data } = modelSchema.safeParse(await answer(api.v1.models[':id'].$get({ param: { id } })))
  const files = data?.files.map(({ path, sha256, bytes }) => ({ path, sha256, bytes }))
  if (!data || hashOf({ files }) !== id)
    throw new RunError(`what the coordinator has is not model ${id}: its files hash to another id`, 'model_mismatch')
  return data
}

async function isThere(path: string, { sha256, bytes }: ModelFile): Promise<boolean> {
  const found = statSync(path, { throwIfNoEntry: false })
  return found?.isFile() === true && found.size === bytes && (await sha256Of(path)) === sha256
}

/** Steps of a progress in MiB, from parts of any length. */
function counted(progress: Progress): (bytes: number) => void {
  let seen = 0
  return (bytes) => {
    for (let step = Math.floor(seen / MIB); step < Math.floor((seen + bytes) / MIB); step++) progress.step()
    seen += bytes
  }
}

interface Into {
  readonly session: Session
  readonly folder: string
  readonly count: (bytes: number) => void
}

/** Writes a file beside its place, and gives it its name once it is whole. @throws RunError, UnreachableError, SottoError */
async function fetched(id: string, file: ModelFile, { session, folder, count }: Into): Promise<void> {
  const path = join(folder, file.path)
  let partial: string | undefined
  try {
    partial = join(folderOf(file.path, folder), `.${randomUUID()}.partial`)
    await write(partial, partsOf(await responseOf(id, file, session), file, count))
    await rename(partial, path)
  } catch (error) {
    if (partial !== undefined) await rm(partial, { force: true })
    throw failureOf(error, path)
  }
}

/** Makes the folder of a file. No part of it may be a link: it could lead elsewhere, where nothing is to be written. @throws RunError */
function folderOf(path: string, folder: string): string {
  mkdirSync(folder, { recursive: true })
  let place = folder
  for (const name of path.split('/').slice(0, -1)) {
    place = join(place, name)
    if (lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink())
      throw new RunError(
        `${place} is a link, which may lead out of ${folder}: nothing was written there`,
        'outside_folder',
      )
    mkdirSync(place, { recursive: true })
  }
  return place
}

/** @throws RunError, UnreachableError, SottoError */
async function responseOf(id: string, file: ModelFile, session: Session): Promise<Response> {
  const { url, signal } = session
  const ask = async (address: string) => await fetch(new URL(address, url), { signal })
  let response = await ask(file.url)
  if (response.status === 403) {
    // A large model takes longer than its addresses are good for.
    const { files } = await modelOf(id, session)
    response = await ask(files.find(({ path }) => path === file.path)!.url)
  }
  if (response.status === 404)
    throw new RunError(`the store has no ${file.path} of model ${id}: push the model again`, 'missing_file')
  if (!response.ok) throw new UnreachableError(`the store answered ${response.status} for ${file.path}. ${AGAIN}`)
  return response
}

/** The parts of a file, which ends in an error where they are not what the manifest says. @throws RunError, UnreachableError */
async function* partsOf(
  response: Response,
  { path, sha256, bytes }: ModelFile,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let length = 0
  for await (const part of response.body ?? []) {
    length += part.length
    if (length > bytes) throw mismatch(path)
    hash.update(part)
    count(part.length)
    yield part
  }
  if (length < bytes) throw new UnreachableError(`${path} broke off after ${length} of ${bytes} bytes. ${AGAIN}`)
  if (hash.digest('hex') !== sha256) throw mismatch(path)
}

const mismatch = (path: string): RunError =>
  new RunError(`what the store has for ${path} is another file: nothing of it was kept`, 'model_mismatch')

async function write(path: string, parts: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, 'wx')
  try {
    for await (const part of parts) await file.writeFile(part)
  } finally {
    await file.close()
  }
}

/** fetch tells a lost connection by a TypeError; what a disk refuses has a system call. */
function failureOf(error: unknown, path: string): unknown {
  if (error instanceof TypeError)
    return new UnreachableError(`the store can not be reached, or broke off in ${path}. ${AGAIN}`)
  const { syscall, code } = error as NodeJS.ErrnoException
  return syscall === undefined ? error : new RunError(`${path} cannot be written: ${code ?? 'unknown reason'}`)
}
