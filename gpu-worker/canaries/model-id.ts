import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { hashOf } from '../../shared/ledger/index.ts'

/** The id that a model with the files of a folder has: the SHA-256 of its manifest. @throws an error of the file system */
export function modelIdOf(folder: string): string {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => {
      const content = readFileSync(file)
      const sha256 = createHash('sha256').update(content).digest('hex')
      return { path: relative(folder, file).replaceAll('\\', '/'), sha256, bytes: content.length }
    })
  return hashOf({ files: files.sort((a, b) => (a.path < b.path ? -1 : 1)) })
}
