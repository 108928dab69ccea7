import { drizzle } from 'drizzle-orm/durable-sqlite'
import { migrate } from 'drizzle-orm/durable-sqlite/migrator'

export { serialQueue } from './serial.ts'

export type SqlValue = string | number | null | Uint8Array | ArrayBuffer

export interface SqlCursor {
  readonly columnNames: string[]
  next(): { done?: false; value: Record<string, SqlValue> } | { done: true; value?: undefined }
  toArray(): Record<string, SqlValue>[]
  one(): Record<string, SqlValue>
  raw(): { toArray(): SqlValue[][] }
}

/** The part of a Durable Object's storage that drizzle uses; `hosts/node-storage.ts` offers the same over node:sqlite. */
export interface ActorStorage {
  readonly sql: { exec(query: string, ...bindings: unknown[]): SqlCursor }
  transactionSync<T>(work: () => T): T
}

/** Shape that `migrate()` takes; the generator writes it. */
export interface Migrations {
  readonly journal: { entries: { idx: number; when: number; tag: string; breakpoints: boolean }[] }
  readonly migrations: Record<string, string>
}

/**
 * A fault of an actor's database. Never carries SQL text, bound values or the driver's own error, which holds both.
 * `full`: free space, then call again; `unavailable`: outcome unknown, reload and compare.
 */
export class StorageError extends Error {
  readonly code: 'full' | 'unavailable'
  /** SQLite's own result code, where there is one. */
  readonly sqlite: number | undefined
  constructor(code: StorageError['code'], sqlite?: number) {
    super(`actor storage: ${code}${sqlite === undefined ? '' : ` (sqlite ${sqlite})`}`)
    this.name = 'StorageError'
    this.code = code
    this.sqlite = sqlite
  }
}

export type Drizzle = ReturnType<typeof drizzle>

/** An actor's database: every piece of work is one synchronous transaction, and what it throws is a StorageError. */
export class Database {
  readonly #storage: ActorStorage
  readonly #drizzle: Drizzle

  private constructor(storage: ActorStorage) {
    this.#storage = storage
    this.#drizzle = drizzle(storage as unknown as Parameters<typeof drizzle>[0], { logger: false })
  }

  static async open(storage: ActorStorage, migrations: Migrations): Promise<Database> {
    const database = new Database(storage)
    try {
      await migrate(database.#drizzle, migrations)
    } catch (error) {
      throw withoutValues(error)
    }
    return database
  }

  /** Builds a query once, for those that are asked often: run it inside `transact`, with its placeholders' values. */
  prepare<T>(build: (db: Drizzle) => T): T {
    return build(this.#drizzle)
  }

  /** Runs work that only reads. An actor's work is synchronous and nobody else has its database: nothing comes between. */
  read<T>(work: (db: Drizzle) => T): T {
    try {
      return work(this.#drizzle)
    } catch (error) {
      throw withoutValues(error)
    }
  }

  /** Runs `work` in one transaction. `work` returns its findings; it throws for faults only. */
  transact<T>(work: (db: Drizzle) => T): T {
    try {
      return this.#storage.transactionSync(() => work(this.#drizzle))
    } catch (error) {
      throw withoutValues(error)
    }
  }
}

/** drizzle prints bound parameters in its errors; only the code passes here. */
function withoutValues(error: unknown): StorageError {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof StorageError) return new StorageError(at.code, at.sqlite)
    if (at.message.includes('SQLITE_FULL')) return new StorageError('full')
  }
  return new StorageError('unavailable')
}
