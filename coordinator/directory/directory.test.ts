import { beforeEach, describe, expect, it } from 'vitest'
import { NodeStorage } from '../hosts/node-storage.ts'
import { Database } from '../storage/index.ts'
import { Directory } from './index.ts'
import { migrations } from './migrations.gen.ts'
import { tokenHash } from './secret.ts'

let storage: NodeStorage
let directory: Directory
let counter = 0
let now = 1_000_000
beforeEach(async () => {
  storage = new NodeStorage(':memory:')
  const random = (length: number) => new Uint8Array(length).fill(++counter)
  directory = await Directory.open({ storage, random, now: () => now })
})

describe('tokens', () => {
  it('speak for their scope until revoked', () => {
    const { id, token } = directory.createToken('auditor')
    expect(token).toMatch(/^sotto_[A-Za-z0-9_-]{43}$/)
    expect(directory.authenticate(token)).toEqual({ token: id, scope: 'auditor', worker: null })
    expect(directory.authenticate(`${token.slice(0, -1)}x`)).toBeNull()
    expect([directory.revokeToken(id), directory.revokeToken(id), directory.revokeToken('none')]).toEqual([
      true,
      true,
      false,
    ])
    expect(directory.authenticate(token)).toBeNull()
  })

  it('speak for nobody from the moment on at which they expire', () => {
    const { token, expires } = directory.createToken('operator', 60)
    expect(expires).toBe(now + 60_000)
    now += 59_999
    expect(directory.authenticate(token)).toMatchObject({ scope: 'operator' })
    now += 1
    expect(directory.authenticate(token)).toBeNull()
  })

  it('are listed in pages, by id, without themselves and their hashes', () => {
    const made = [1, 2, 3].map(() => directory.createToken('auditor').id).sort()
    const first = directory.listTokens({ cursor: undefined, limit: 2 })
    expect(first).toEqual({
      items: made.slice(0, 2).map((id) => ({ id, scope: 'auditor', worker: null, revoked: false, expires: null })),
      next: made[1],
    })
    expect(directory.listTokens({ cursor: made[1], limit: 2 }).items.map(({ id }) => id)).toEqual(made.slice(2))
  })

  it('of a database from before there were scopes of operators are what they were', async () => {
    const old = new NodeStorage(':memory:')
    const { journal, migrations: files } = migrations
    await Database.open(old, { journal: { entries: journal.entries.slice(0, 2) }, migrations: files })
    const insert = 'INSERT INTO token (id, hash, scope, worker, revoked) VALUES (?, ?, ?, ?, ?)'
    old.sql.exec('INSERT INTO worker (id, dataset) VALUES (?, ?)', 'worker-1', 'north')
    old.sql.exec(insert, 'token-1', tokenHash('first'), 'admin', null, 0)
    old.sql.exec(insert, 'token-2', tokenHash('second'), 'worker', 'worker-1', 0)
    old.sql.exec(insert, 'token-3', tokenHash('third'), 'auditor', null, 1)
    const later = await Directory.open({ storage: old, random: () => new Uint8Array(8), now: () => now })
    expect(later.authenticate('first')).toEqual({ token: 'token-1', scope: 'admin', worker: null })
    expect(later.authenticate('second')).toMatchObject({ worker: { id: 'worker-1', dataset: 'north' } })
    expect(later.authenticate('third')).toBeNull()
    expect(later.listTokens({ cursor: undefined, limit: 9 }).items.map(({ expires }) => expires)).toEqual([
      null,
      null,
      null,
    ])
    expect(() => old.sql.exec(insert, 'token-4', tokenHash('first'), 'admin', null, 0)).toThrow()
    expect(() => old.sql.exec(insert, 'token-4', tokenHash('x'), 'root', null, 0)).toThrow()
  })

  it('of the operator stay revoked over a restart', () => {
    directory.admitAdmin('operator')
    const { token } = directory.authenticate('operator')!
    directory.revokeToken(token)
    directory.admitAdmin('operator')
    expect(directory.authenticate('operator')).toBeNull()
  })

  it('of workers name worker and dataset, and mark it as seen', () => {
    const { id, token } = directory.createWorker('north')
    expect(directory.authenticate(token)?.worker).toEqual({ id, dataset: 'north', publicKey: null })
    now += 5000
    directory.authenticate(token)
    expect(directory.listWorkers({ cursor: undefined, limit: 9 }).items[0]?.lastSeen).toBe(now)
    const principal = directory.authenticate(token)!
    expect(directory.isValid(principal.token)).toBe(true)
    directory.revokeWorker(id)
    expect([directory.authenticate(token), directory.isValid(principal.token)]).toEqual([null, false])
  })

  it('are refused by the table where scope and worker do not fit', () => {
    const insert = (scope: string, worker: string | null) => () =>
      storage.sql.exec(
        'INSERT INTO token (id, hash, scope, worker) VALUES (?, ?, ?, ?)',
        scope,
        'a'.repeat(64),
        scope,
        worker,
      )
    expect(insert('worker', null)).toThrow()
    expect(insert('admin', 'worker-none')).toThrow()
    expect(insert('root', null)).toThrow()
  })
})

describe('requests', () => {
  const request = { caller: 't', route: 'POST /v1/runs', key: 'k', bodyHash: 'a'.repeat(64) }

  it('begin once, go on with their draft, and repeat their answer', () => {
    expect(directory.beginRequest(request, { id: 1 })).toEqual({ outcome: 'fresh', draft: { id: 1 } })
    expect(directory.beginRequest(request, { id: 2 })).toEqual({ outcome: 'resume', draft: { id: 1 } })
    directory.finishRequest(request, { done: true })
    expect(directory.beginRequest(request, { id: 3 })).toEqual({ outcome: 'replay', answer: { done: true } })
    expect(directory.beginRequest({ ...request, bodyHash: 'b'.repeat(64) }, {})).toEqual({ outcome: 'mismatch' })
  })

  it('of another caller or route are others', () => {
    directory.beginRequest(request, { id: 1 })
    expect(directory.beginRequest({ ...request, caller: 'u' }, { id: 2 }).outcome).toBe('fresh')
    expect(directory.beginRequest({ ...request, route: 'POST /v1/datasets' }, { id: 2 }).outcome).toBe('fresh')
  })
})

describe('runs', () => {
  it('count from their first state on', () => {
    const draft = { id: 'run-1', model: 'a'.repeat(64), datasets: ['north'], created: 1 }
    directory.draftRun(draft)
    directory.draftRun(draft)
    expect([directory.hasDraft('run-1'), directory.hasRun('run-1')]).toEqual([true, false])
    expect(directory.isModelOf({ dataset: 'north', model: draft.model })).toBe(false)
    directory.noteRun('run-1', 'running')
    expect(directory.runningRuns('north')).toEqual(['run-1'])
    expect(directory.runningRuns('south')).toEqual([])
    expect(directory.isModelOf({ dataset: 'north', model: draft.model })).toBe(true)
    directory.noteRun('run-1', 'completed')
    expect(directory.runningRuns()).toEqual([])
    expect(directory.listRuns({ cursor: undefined, limit: 5 }).items).toEqual([
      { id: 'run-1', state: 'completed', created: 1 },
    ])
  })

  it('are listed by state and by dataset, in pages', () => {
    const all = ['run-1', 'run-2', 'run-3', 'run-4']
    for (const [at, id] of all.entries()) {
      const datasets = at % 2 ? ['north', 'south'] : ['north']
      directory.draftRun({ id, model: 'a'.repeat(64), datasets, created: at })
      directory.noteRun(id, 'running')
    }
    directory.noteRun('run-2', 'paused')
    directory.noteRun('run-3', 'completed')
    const listed = (more: object) =>
      directory.listRuns({ cursor: undefined, limit: 9, ...more }).items.map(({ id, state }) => `${id} ${state}`)
    expect(listed({})).toEqual(['run-4 running', 'run-3 completed', 'run-2 paused', 'run-1 running'])
    expect(listed({ state: 'running' })).toEqual(['run-4 running', 'run-1 running'])
    expect(listed({ state: 'paused' })).toEqual(['run-2 paused'])
    expect(listed({ dataset: 'south' })).toEqual(['run-4 running', 'run-2 paused'])
    expect(listed({ dataset: 'south', state: 'running' })).toEqual(['run-4 running'])
    expect(listed({ dataset: 'nowhere' })).toEqual([])
    const { next } = directory.listRuns({ cursor: undefined, limit: 1, state: 'running' })
    expect(listed({ cursor: next, state: 'running' })).toEqual(['run-1 running'])
    expect(directory.runningRuns('south'), 'a paused one too').toEqual(['run-2', 'run-4'])
  })
})
