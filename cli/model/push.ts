import { readdirSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { type ConnectionGiven, type Session, withCoordinator } from '../connection/index.ts'
import { InputError } from '../failure.ts'
import { startProgress } from '../progress.ts'
import { sha256Of } from '../reading.ts'

/** Files of a model's folder, ascending by path, as a manifest lists them. @throws InputError */
export async function modelFiles(folder: string): Promise<{ path: string; sha256: string; bytes: number }[]> {
  const files = listed(folder).toSorted()
  if (files.length === 0) throw new InputError(`${folder} has no files`)
  const found = []
  for (const path of files) {
    const file = join(folder, path)
    found.push({ path, sha256: await sha256Of(file), bytes: statSync(file).size })
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1))
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
  } catch (error) {
    throw new InputError(`${folder} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
}

/** Registers the model of a folder, and uploads what the store does not have. @returns its id @throws InputError, SottoError */
export async function pushModel(folder: string, { uploadModel }: Pick<Session, 'uploadModel'>): Promise<string> {
  const files = await modelFiles(folder)
  const progress = startProgress(files.length)
  try {
    return await uploadModel(files, async (path) => {
      const bytes = new Uint8Array(await readFile(join(folder, path)))
      progress.step()
      return bytes
    })
  } finally {
    progress.done()
  }
}

/** `sotto model push`. @throws InputError, RefusedError, UnreachableError */
export const runPush = async (folder: string, given: ConnectionGiven): Promise<void> =>
  await withCoordinator(given, async (session) => {
    const id = await pushModel(folder, session)
    session.tell({ id }, `${id}\n`)
  })
