import { DatabaseSync } from 'node:sqlite'

/** Another coordinator works on the folder. */
export class FolderLockedError extends Error {
  constructor() {
    super('another coordinator runs on this data folder; stop it, or choose another folder with --data')
    this.name = 'FolderLockedError'
  }
}

/**
 * Keeps a second coordinator off a folder. The lock is SQLite's own, which the kernel frees with the process however that
 * dies: there is no stale lock to clear and no process id that may have been given to somebody else.
 * @returns the function that frees it.
 * @throws FolderLockedError
 */
export function lockFolder(path: string): () => void {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode=delete; BEGIN EXCLUSIVE')
  } catch {
    database.close()
    throw new FolderLockedError()
  }
  return function unlock() {
    database.close()
  }
}
