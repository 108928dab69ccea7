import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { type ActorStorage, type SqlCursor, type SqlValue, StorageError } from '../storage/index.ts'

/** A Durable Object refuses more; refused here too, so that what passes here runs there. */
const MAX_BOUND_PARAMETERS = 100
const SQLITE_FULL = 13
/** The shared-memory file of the WAL could not grow: a full disk. */
const SQLITE_IOERR_SHMSIZE = 4874

export interface NodeStorageOptions {
  /**
   * `normal`: a commit outlives a killed process, yet power loss may take the newest commits back (the log in the object
   * store then stands ahead, and the run refuses to go on rather than spend twice). `full`: outlives power loss, at one
   * fsync a commit.
   */
  readonly synchronous?: 'normal' | 'full'
}

/** The storage of a Durable Object over one SQLite file: `sql.exec()` and `transactionSync()`. */
export class NodeStorage implements ActorStorage {
  readonly #path: string
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, { statement: StatementSync; columns: string[] }>()
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #changes: StatementSync
  #depth = 0
  #wal: Promise<FileHandle> | null = null
  #syncing: Promise<void> | null = null
  /** Rows changed since the file was opened: those that outlive power loss. */
  #synced = 0
  #failed = false

  constructor(path: string, { synchronous = 'normal' }: NodeStorageOptions = {}) {
    this.#db = guard(() => new DatabaseSync(path, { timeout: 5000, enableForeignKeyConstraints: true }))
    this.#path = path
    guard(() => this.#db.exec(`PRAGMA journal_mode=wal; PRAGMA synchronous=${synchronous}`))
    this.#changes = this.#db.prepare('SELECT total_changes() AS changes')
    this.#begin = this.#db.prepare('BEGIN IMMEDIATE')
    this.#commit = this.#db.prepare('COMMIT')
  }

  readonly sql = { exec: (query: string, ...bindings: unknown[]): SqlCursor => this.#exec(query, bindings) }

  /** BEGIN IMMEDIATE outside, a SAVEPOINT inside: a thrown error takes back exactly its own level. */
  transactionSync<T>(work: () => T): T {
    const level = this.#depth
    if (level === 0) guard(() => this.#begin.run())
    else this.#command(`SAVEPOINT s${level}`)
    this.#depth = level + 1
    try {
      const result = work()
      if (level === 0) guard(() => this.#commit.run())
      else this.#command(`RELEASE s${level}`)
      return result
    } catch (error) {
      this.#undo(level)
      throw error
    } finally {
      this.#depth = level
    }
  }

  /**
   * Resolves when every commit so far outlives power loss, as under `full`, yet waits for the disk beside others: who calls
   * while a sync is under way shares the next. SQLite writes commits to the WAL in order, so that syncing that file is enough
   * (https://www.sqlite.org/pragma.html#pragma_synchronous). A disk that failed once is not asked again: what it then says of
   * earlier pages means nothing.
   * @throws StorageError `unavailable`
   */
  async synced(): Promise<void> {
    const wanted = this.#changed()
    while (this.#synced < wanted) {
      this.#syncing ??= this.#sync().finally(() => {
        this.#syncing = null
      })
      await this.#syncing
    }
  }

  close(): void {
    this.#statements.clear()
    this.#db.close()
    void this.#wal?.then((file) => file.close()).catch(() => undefined)
  }

  #changed(): number {
    return guard(() => (this.#changes.get() as { changes: number }).changes)
  }

  async #sync(): Promise<void> {
    if (this.#failed) throw new StorageError('unavailable')
    const at = this.#changed()
    try {
      this.#wal ??= openWal(this.#path)
      await (await this.#wal).datasync()
    } catch {
      this.#failed = true
      throw new StorageError('unavailable')
    }
    this.#synced = Math.max(this.#synced, at)
  }

  /** SQLite itself may have rolled back already (a full disk does that); there is nothing left to undo then. */
  #undo(level: number): void {
    if (!this.#db.isTransaction) return
    this.#command(level === 0 ? 'ROLLBACK' : `ROLLBACK TO s${level}`)
    if (level > 0) this.#command(`RELEASE s${level}`)
  }

  #command(sql: string): void {
    guard(() => this.#db.exec(sql))
  }

  #exec(query: string, bindings: unknown[]): SqlCursor {
    if (bindings.length > MAX_BOUND_PARAMETERS) throw new RangeError('more than 100 bound parameters')
    const values = bindings.map(boundValue)
    return guard(() => {
      const { statement, columns } = this.#prepare(query)
      return cursorOf(columns, statement.all(...values) as unknown as SqlValue[][])
    })
  }

  #prepare(query: string) {
    const known = this.#statements.get(query)
    if (known) return known
    const statement = this.#db.prepare(query)
    statement.setReturnArrays(true)
    const prepared = { statement, columns: statement.columns().map(({ name }) => name) }
    // What changes a table changes the columns of statements that are known.
    if (DEFINES.test(query)) this.#statements.clear()
    else this.#statements.set(query, prepared)
    return prepared
  }
}

/** Statements that change tables. */
const DEFINES = /^\s*(?:create|alter|drop)\b/i

/** The WAL of a database, which stays the same file while the database is open. Its name outlives power loss. */
async function openWal(path: string): Promise<FileHandle> {
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
  return await open(`${path}-wal`, 'r+')
}

/** A Durable Object loses digits of an integer beyond 2^53 without a word: refused, store it as text. */
function boundValue(value: unknown): string | number | null | Uint8Array {
  if (value === null || value === undefined) return null
  if (typeof value === 'string' || value instanceof Uint8Array) return value
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  if (typeof value !== 'number') throw new TypeError('a bound value is a string, number, blob or null')
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) {
    throw new RangeError('a bound number is finite, and an integer is below 2^53')
  }
  return value
}

function cursorOf(columnNames: string[], rows: SqlValue[][]): SqlCursor {
  const record = (row: SqlValue[]) => Object.fromEntries(columnNames.map((name, i) => [name, row[i] ?? null]))
  let at = 0
  return {
    columnNames,
    next() {
      const row = rows[at++]
      return row === undefined ? { done: true } : { done: false, value: record(row) }
    },
    toArray: () => rows.slice(at).map(record),
    one() {
      if (rows.length !== 1) throw new RangeError('not exactly one row')
      return record(rows[0]!)
    },
    raw: () => ({ toArray: () => rows.slice(at) }),
  }
}

function guard<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = errcodeOf(error)
    if (code === undefined) throw error
    throw new StorageError(code === SQLITE_FULL || code === SQLITE_IOERR_SHMSIZE ? 'full' : 'unavailable', code)
  }
}

function errcodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode : undefined
}
