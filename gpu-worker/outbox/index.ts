import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { WorkerError } from '../error.ts'

/** What every body says of itself. */
const named = z.object({ run: z.string(), lease: z.string() })

/** A lease id as it may name a file: what the API's Identifier allows. */
const LEASE = /^[a-z0-9][a-z0-9_-]{0,62}$/

/**
 * Noised bytes, written and synced before the first send. Noise is never redrawn for bytes already written: whatever a lease
 * released once is what every retry sends, for as long as the folder lives. A file moves from `<lease>.json` to
 * `<lease>.sent.json` when the coordinator has answered for it, and is never removed: a lease offered again after the
 * coordinator lost its memory gets the same bytes, not a second release.
 */
export interface Outbox {
  /** The bytes written for a lease, sent or not; null where there are none. */
  find(lease: string): string | null
  /** Writes and syncs. @throws WorkerError `lease_used` where bytes exist, `disk_full` where the disk refuses. */
  put(lease: string, body: string): void
  markAnswered(lease: string): void
  /** Leases of a run for which bytes were ever made. */
  released(run: string): string[]
  /** Leases whose bytes no coordinator has answered for. */
  pending(): string[]
}

export function openOutbox(folder: string): Outbox {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const pathOf = (lease: string, suffix: string) => {
    if (!LEASE.test(lease)) throw new WorkerError('log_mismatch', 'a lease id that can not name a file')
    return join(folder, `${lease}${suffix}`)
  }
  const made = new Map<string, Set<string>>()
  const note = (body: string) => {
    const { run, lease } = named.parse(JSON.parse(body))
    made.set(run, (made.get(run) ?? new Set()).add(lease))
  }
  for (const name of readdirSync(folder)) if (name.endsWith('.json')) note(readFileSync(join(folder, name), 'utf8'))
  const find = (lease: string) => {
    for (const suffix of ['.json', '.sent.json']) {
      const path = pathOf(lease, suffix)
      if (existsSync(path)) return readFileSync(path, 'utf8')
    }
    return null
  }
  return {
    find,
    put: (lease, body) => {
      if (find(lease) !== null) throw new WorkerError('lease_used', `lease ${lease} has released its bytes already`)
      writeDurably(folder, pathOf(lease, '.json'), body)
      note(body)
    },
    released: (run) => [...(made.get(run) ?? [])],
    markAnswered: (lease) => {
      const path = pathOf(lease, '.json')
      if (existsSync(path)) renameSync(path, pathOf(lease, '.sent.json'))
    },
    pending: () =>
      readdirSync(folder)
        .filter((name) => name.endsWith('.json') && !name.endsWith('.sent.json'))
        .map((name) => name.slice(0, -'.json'.length)),
  }
}

/** Temporary file, sync, rename, sync of the folder: after a crash the file is whole or absent. @throws WorkerError `disk_full`. */
export function writeDurably(folder: string, path: string, body: string, mode = 0o600): void {
  const temporary = `${path}.partial`
  try {
    const file = openSync(temporary, 'w', mode)
    try {
      // Unlike writeSync, writes on after a short write, so that a full disk can not leave half a body without an error.
      writeFileSync(file, body)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
    const directory = openSync(folder, 'r')
    try {
      fsyncSync(directory)
    } finally {
      closeSync(directory)
    }
  } catch (cause) {
    throw new WorkerError(
      'disk_full',
      `${folder} can not be written (${codeOf(cause)}): free space and start again, nothing was sent`,
      cause,
    )
  }
}

const codeOf = (cause: unknown): string => (cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown')
