import { beforeEach, describe, expect, it } from 'vitest'
import { NodeStorage } from '../hosts/node-storage.ts'
import { Directory } from './index.ts'

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
    directory.revokeWorker(id)
    expect([directory.authenticate(token), directory.isRevoked(id)]).toEqual([null, true])
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
})
