import { mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest'
import { migrations } from '../dataset/migrations.gen.ts'
import { charge } from '../dataset/schema.ts'
import { Database, StorageError } from '../storage/index.ts'
import { NodeStorage } from './node-storage.ts'

let folder: string
let storage: NodeStorage
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-'))
  storage = new NodeStorage(join(folder, 'a.sqlite'))
  storage.sql.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, value)')
})
afterEach(() => {
  storage.close()
  rmSync(folder, { recursive: true })
})
const ids = () => storage.sql.exec('SELECT id FROM t ORDER BY id').raw().toArray().flat()
const add = (id: number) => storage.sql.exec('INSERT INTO t (id) VALUES (?)', id)

describe('the cursor', () => {
  it('reads rows as records, arrays and one by one', () => {
    add(1)
    add(2)
    const all = () => storage.sql.exec('SELECT id, value FROM t ORDER BY id')
    expect(all().columnNames).toEqual(['id', 'value'])
    expect(all().toArray()).toEqual([
      { id: 1, value: null },
      { id: 2, value: null },
    ])
    const cursor = all()
    expect(cursor.next()).toEqual({ done: false, value: { id: 1, value: null } })
    expect(cursor.raw().toArray()).toEqual([[2, null]])
    expect(() => all().one()).toThrow(RangeError)
    expect(storage.sql.exec('SELECT count(*) AS n FROM t').one()).toEqual({ n: 2 })
  })

  it('keeps blobs and texts', () => {
    storage.sql.exec('INSERT INTO t VALUES (1, ?), (2, ?)', new Uint8Array([1, 2]), 'ä')
    expect(storage.sql.exec('SELECT value FROM t ORDER BY id').raw().toArray()).toEqual([
      [new Uint8Array([1, 2])],
      ['ä'],
    ])
  })
})

describe('bound values', () => {
  it('are 100 at most, as in a Durable Object', () => {
    const query = (count: number) => `SELECT ${Array(count).fill('?').join(',')}`
    expect(storage.sql.exec(query(100), ...Array(100).fill(1)).toArray()).toHaveLength(1)
    expect(() => storage.sql.exec(query(101), ...Array(101).fill(1))).toThrow(RangeError)
  })

  it.each([2 ** 53, -(2 ** 53), Number.NaN, Number.POSITIVE_INFINITY])('refuse the number %s', (value) => {
    expect(() => storage.sql.exec('SELECT ?', value)).toThrow(RangeError)
  })

  it.each([[true], [1n], [{}]])('refuse %s', (value) => {
    expect(() => storage.sql.exec('SELECT ?', value)).toThrow(TypeError)
  })
})

describe('transactions', () => {
  it('take everything back where the work throws', () => {
    expect(() =>
      storage.transactionSync(() => {
        add(1)
        throw new Error('no')
      }),
    ).toThrow('no')
    expect(ids()).toEqual([])
  })

  it('nest: an inner failure takes back the inner work alone', () => {
    storage.transactionSync(() => {
      add(1)
      expect(() =>
        storage.transactionSync(() => {
          add(2)
          throw new Error('no')
        }),
      ).toThrow('no')
      storage.transactionSync(() => add(3))
    })
    expect(ids()).toEqual([1, 3])
  })

  it('are there after the file is opened again', () => {
    storage.transactionSync(() => add(1))
    storage.close()
    storage = new NodeStorage(join(folder, 'a.sqlite'), { synchronous: 'full' })
    expect(ids()).toEqual([1])
    expect(storage.sql.exec('PRAGMA synchronous').one()).toEqual({ synchronous: 2 })
    expect(storage.sql.exec('PRAGMA journal_mode').one()).toEqual({ journal_mode: 'wal' })
  })
})

describe('commits that wait for the disk together', () => {
  const commit = (id: number) => storage.transactionSync(() => add(id))
  let datasync: MockInstance
  beforeEach(async () => {
    const file = await open(join(folder, 'a.sqlite'))
    datasync = vi.spyOn(Object.getPrototypeOf(file), 'datasync')
    await file.close()
  })
  afterEach(() => datasync.mockRestore())

  it('share a sync, and need none where nothing changed', async () => {
    commit(1)
    await Promise.all([storage.synced(), storage.synced(), storage.synced()])
    expect(datasync).toHaveBeenCalledTimes(1)
    await storage.synced()
    storage.transactionSync(() => ids())
    await storage.synced()
    expect(datasync).toHaveBeenCalledTimes(1)
  })

  it('wait for another where they come while one is under way', async () => {
    commit(1)
    const first = storage.synced()
    commit(2)
    await Promise.all([first, storage.synced(), storage.synced()])
    expect(datasync).toHaveBeenCalledTimes(2)
  })

  it('never pass again on a disk that failed once', async () => {
    datasync.mockRejectedValueOnce(Object.assign(new Error('SENTINEL'), { code: 'EIO' }))
    commit(1)
    const failed = expect.objectContaining({ code: 'unavailable', message: expect.not.stringContaining('SENTINEL') })
    await expect(storage.synced()).rejects.toEqual(failed)
    await expect(storage.synced()).rejects.toEqual(failed)
    expect(datasync).toHaveBeenCalledTimes(1)
  })
})

describe('faults', () => {
  it('name a full disk, and the same work succeeds when there is room', () => {
    storage.sql.exec('PRAGMA max_page_count = 5')
    const fill = () => storage.transactionSync(() => storage.sql.exec('INSERT INTO t VALUES (9, zeroblob(50000))'))
    expect(fill).toThrow(expect.objectContaining({ code: 'full' }))
    storage.sql.exec('PRAGMA max_page_count = 5000')
    fill()
    expect(ids()).toEqual([9])
  })

  it('never carry bound values, whatever the error', async () => {
    const database = await Database.open(new NodeStorage(':memory:'), migrations)
    const row = { id: 'c', run: 'SENTINEL', event: 'SENTINEL', time: 1 }
    const insert = () => database.transact((db) => db.insert(charge).values(row).run())
    insert()
    const fault = (() => {
      try {
        insert()
      } catch (error) {
        return error as StorageError
      }
      return null
    })()
    expect(fault).toBeInstanceOf(StorageError)
    expect(`${fault} ${fault?.stack} ${JSON.stringify(fault)} ${fault?.cause}`).not.toContain('SENTINEL')
  })
})
