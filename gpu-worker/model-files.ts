import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ModelManifest } from '../shared/api/index.ts'
import { hashOf } from '../shared/ledger/index.ts'
import type { Coordinator } from './coordinator.ts'
import { WorkerError } from './error.ts'

/**
 * The folder of a model, downloaded once and checked file by file against the hash that the spec names.
 * @throws WorkerError `model_mismatch` where the manifest or a file is another than the spec says.
 */
export async function fetchModel(coordinator: Coordinator, id: string, modelsFolder: string): Promise<string> {
  const folder = join(modelsFolder, id)
  const { files } = await coordinator.model(id)
  const manifest: ModelManifest = { files: files.map(({ path, sha256, bytes }) => ({ path, sha256, bytes })) }
  if (hashOf(manifest) !== id)
    throw new WorkerError('model_mismatch', `the manifest of model ${id} does not hash to its id`)
  for (const file of files) {
    const path = join(folder, file.path)
    if (existsSync(path) && sha256(readFileSync(path)) === file.sha256) continue
    const bytes = await coordinator.download(file.url)
    if (sha256(bytes) !== file.sha256)
      throw new WorkerError('model_mismatch', `file ${file.path} of model ${id} has another hash`)
    store(path, bytes)
  }
  return folder
}

function store(path: string, bytes: Uint8Array): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(`${path}.partial`, bytes)
    renameSync(`${path}.partial`, path)
  } catch (cause) {
    rmSync(`${path}.partial`, { force: true })
    throw new WorkerError('disk_full', `${dirname(path)} can not be written: free space and start again`, cause)
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
