import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { proofOfRecord, toBase64 } from '../../shared/ledger/index.ts'
import { finishedRun } from '../rehearsal/theatre.ts'

const SCRIPT = fileURLToPath(new URL('verifier.py', import.meta.url))
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A Python that has the package `cryptography`: of the repository's virtual environment, or of the machine. */
function findPython(): string | null {
  const own = join(ROOT, '.venv/bin/python3')
  const candidates = [...(existsSync(own) ? [own] : []), 'python3']
  return candidates.find((python) => spawnSync(python, ['-c', 'import cryptography']).status === 0) ?? null
}

const python = findPython()
const absent = python
  ? ''
  : ' (needs Python with cryptography: python3 -m venv .venv && .venv/bin/pip install cryptography)'

describe.skipIf(!python)(`a verifier in another language, written from the specifications alone${absent}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-verifier-'))
  const objects = new Map<string, Uint8Array>()
  let run: string
  let key: string
  let proof: string
  beforeAll(async () => {
    const theatre = await finishedRun()
    run = theatre.runId
    key = toBase64((await openLogKey('rehearsal', new Uint8Array(32))).publicKey)
    for (const [name, bytes] of theatre.objects.objects) objects.set(name, bytes)
    const { records, head } = theatre.log()
    const note = Buffer.from(objects.get(`runs/${run}/checkpoint`)!).toString()
    proof = proofOfRecord(records, records.find(({ type }) => type === 'close')!.seq, { note, size: head.size })
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const write = (changed: ReadonlyMap<string, Uint8Array>): string => {
    const place = mkdtempSync(join(folder, 'objects-'))
    for (const [name, bytes] of changed) {
      mkdirSync(dirname(join(place, name)), { recursive: true })
      writeFileSync(join(place, name), bytes)
    }
    return place
  }
  const asked = (kind: 'log' | 'dataset' | 'proof', place: string, name = 'rehearsal') => {
    const id = kind === 'dataset' ? 'north' : run
    const { status, stdout, stderr } = spawnSync(python!, [SCRIPT, kind, place, id, name, key], { encoding: 'utf8' })
    if (stdout === '') throw new Error(stderr)
    return { status, ...JSON.parse(stdout) }
  }

  it('accepts our logs and proofs', () => {
    expect(asked('log', write(objects))).toMatchObject({ status: 0, holds: true, reports: 10 })
    expect(asked('dataset', write(objects))).toMatchObject({ status: 0, holds: true, charges: 5, left: 0 })
    const file = join(folder, 'proof')
    writeFileSync(file, proof)
    expect(asked('proof', file)).toMatchObject({ status: 0, holds: true, type: 'close' })
  })

  it('refuses them when they are changed', () => {
    const ofLogs = [...objects.keys()].filter((name) => name.includes('/log/') || name.endsWith('/checkpoint'))
    const keys = ofLogs.filter((name) => name.startsWith('runs/') || name.startsWith('datasets/north/'))
    for (const name of keys) {
      const bytes = objects.get(name)!.slice()
      bytes[bytes.length >> 1]! ^= 1
      const kind = name.startsWith('runs/') ? 'log' : 'dataset'
      expect(asked(kind, write(new Map(objects).set(name, bytes))), name).toMatchObject({ status: 1, holds: false })
    }
    expect(asked('log', write(objects), 'elsewhere')).toMatchObject({ status: 1, reason: 'unsigned' })
    const file = join(folder, 'proof')
    writeFileSync(
      file,
      proof.replace(/^index (\d+)/m, (_, index) => `index ${Number(index) - 1}`),
    )
    expect(asked('proof', file)).toMatchObject({ status: 1, holds: false })
  })
})
