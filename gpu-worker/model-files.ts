import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ModelManifest } from '../shared/api/index.ts'
import { hashOf } from '../shared/ledger/index.ts'
import type { Coordinator } from './coordinator.ts'
import { WorkerError } from './error.ts'

/**
 * The folder of a model, downloaded once and checked file by file against the hash that the spec names. Files pass through
 * piece by piece: they may be larger than memory.
 * @throws WorkerError `model_mismatch` where the manifest or a file is another than the spec says; `disk_full`.
 */
export async function fetchModel(
  coordinator: Pick<Coordinator, 'model' | 'stream'>,
  id: string,
  modelsFolder: string,
): Promise<string> {
  const folder = join(modelsFolder, id)
  const { files } = await coordinator.model(id)
  const manifest: ModelManifest = { files: files.map(({ path, sha256, bytes }) => ({ path, sha256, bytes })) }
  if (hashOf(manifest) !== id)
    throw new WorkerError('model_mismatch', `the manifest of model ${id} does not hash to its id`)
  for (const file of files) {
    const path = join(folder, file.path)
    if (existsSync(path) && (await digestOf(createReadStream(path))) === file.sha256) continue
    const digest = await store(path, coordinator.stream(file.url))
    if (digest !== file.sha256) {
      await rm(`${path}.partial`, { force: true })
      throw new WorkerError('model_mismatch', `file ${file.path} of model ${id} has another hash`)
    }
    await rename(`${path}.partial`, path)
  }
  return folder
}

async function digestOf(parts: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256')
  for await (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** Writes beside the place. @returns SHA-256 of what was written. */
async function store(path: string, parts: AsyncIterable<Uint8Array>): Promise<string> {
  const partial = `${path}.partial`
  try {
    mkdirSync(dirname(path), { recursive: true })
    const file = await open(partial, 'w')
    try {
      return await digestOf(written(file, parts))
    } finally {
      await file.close()
    }
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {})
    if (cause instanceof WorkerError) throw cause
    throw new WorkerError('disk_full', `${dirname(path)} can not be written: free space and start again`, cause)
  }
}

async function* written(
  file: Awaited<ReturnType<typeof open>>,
  parts: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for await (const part of parts) {
    await file.writeFile(part)
    yield part
  }
}
