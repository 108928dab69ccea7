import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface NamedFile {
  readonly path: string
  readonly bytes: Uint8Array
}

/**
 * Files of one folder of a model that a spec names by their SHA-256, found by what they hold: their names say nothing.
 * @returns those that are there, by hash.
 */
export function filesByHash(modelDir: string, folder: string, wanted: ReadonlySet<string>): Map<string, NamedFile> {
  const found = new Map<string, NamedFile>()
  const path = join(modelDir, folder)
  if (wanted.size === 0 || !existsSync(path)) return found
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = join(path, entry.name)
    const bytes = new Uint8Array(readFileSync(file))
    const hash = createHash('sha256').update(bytes).digest('hex')
    if (wanted.has(hash)) found.set(hash, { path: file, bytes })
  }
  return found
}
