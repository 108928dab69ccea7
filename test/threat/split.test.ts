import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { makeWitness } from '../../cli/witness/witness.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import {
  consistencyProof,
  cosignedAt,
  type Hash,
  leafHash,
  parseWitnessKey,
  rootOf,
  signCheckpoint,
  toBase64,
  witnessKey,
} from '../../shared/ledger/index.ts'
import { treeOf } from '../../shared/ledger/merkle.ts'

const leaves = Array.from({ length: 20 }, (_, i) => leafHash(`record ${i}`))
const forked = leaves.with(3, leafHash('another'))
const NOW = 1_790_000_000_000

describe('a witness', () => {
  let folder: string
  let witness: ReturnType<typeof makeWitness>
  let log: Awaited<ReturnType<typeof openLogKey>>
  let self: Awaited<ReturnType<typeof openLogKey>>
  const open = () =>
    makeWitness({
      database: join(folder, 'seen.sqlite'),
      witness: self,
      logs: new Map([['sotto.example', log.publicKey]]),
      verify: verifyEd25519,
      now: () => NOW,
    })
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-witness-'))
    log = await openLogKey('sotto.example', new Uint8Array(32).fill(1))
    self = await openLogKey('witness.example', new Uint8Array(32).fill(2))
    witness = open()
  })
  afterEach(() => {
    witness.close()
    rmSync(folder, { recursive: true })
  })

  const noteOf = async (some: readonly Hash[], run = 'run-1', key = log) => {
    const signer = { name: `sotto.example/${run}`, publicKey: key.publicKey }
    return await signCheckpoint(
      { origin: signer.name, size: some.length, root: rootOf(treeOf(some)) },
      signer,
      key.sign,
    )
  }
  const post = async (old: number, proof: readonly Hash[], note: string) => {
    const body = [`old ${old}`, ...proof.map(toBase64), '', note].join('\n')
    const answer = await witness.request('/add-checkpoint', { method: 'POST', body })
    return { status: answer.status, text: await answer.text(), type: answer.headers.get('Content-Type') }
  }
  const add = async (old: number, some: readonly Hash[]) =>
    await post(old, old === 0 ? [] : consistencyProof(some, old), await noteOf(some))

  it('cosigns a log as it grows, with the time', async () => {
    for (const [old, size] of [
      [0, 3],
      [3, 3],
      [3, 8],
      [8, 20],
    ] as const) {
      const { status, text } = await add(old, leaves.slice(0, size))
      expect(status).toBe(200)
      const note = (await noteOf(leaves.slice(0, size))) + text
      expect(await cosignedAt(note, self, verifyEd25519)).toBe(NOW / 1000)
      const other = await noteOf(leaves.slice(0, 2))
      await expect(cosignedAt(other + text, self, verifyEd25519)).rejects.toMatchObject({ code: 'bad_signature' })
      await expect(cosignedAt(other, self, verifyEd25519)).rejects.toMatchObject({ code: 'unsigned' })
    }
  })

  it('never cosigns two logs of one run, over restarts too', async () => {
    await add(0, leaves.slice(0, 8))
    witness.close()
    witness = open()
    // The fork does not continue what was seen.
    expect((await add(8, forked.slice(0, 12))).status).toBe(422)
    expect(await add(8, forked.slice(0, 8))).toMatchObject({ status: 409, text: '8\n', type: 'text/x.tlog.size' })
    expect((await add(8, leaves.slice(0, 12))).status).toBe(200)
    // Another run is another log.
    expect((await post(0, [], await noteOf(forked.slice(0, 5), 'run-2'))).status).toBe(200)
  })

  it('tells its size to those who are behind, of whom one passes where two come together', async () => {
    await add(0, leaves.slice(0, 8))
    expect(await add(0, leaves.slice(0, 12))).toMatchObject({ status: 409, text: '8\n' })
    const both = await Promise.all([add(8, leaves.slice(0, 12)), add(8, leaves.slice(0, 15))])
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409])
  })

  it('refuses what is not signed, not known, not whole or too large', async () => {
    const stranger = await openLogKey('sotto.example', new Uint8Array(32).fill(9))
    expect((await post(0, [], await noteOf(leaves.slice(0, 3), 'run-1', stranger))).status).toBe(403)
    const elsewhere = { name: 'elsewhere/run-1', publicKey: log.publicKey }
    const unknown = await signCheckpoint({ origin: elsewhere.name, size: 1, root: leaves[0]! }, elsewhere, log.sign)
    expect((await post(0, [], unknown)).status).toBe(404)
    const note = await noteOf(leaves.slice(0, 3))
    expect((await post(4, [], note)).status).toBe(400)
    expect((await post(0, Array(64).fill(leaves[0]), note)).status).toBe(400)
    expect((await post(0, [], 'nothing')).status).toBe(400)
    expect((await post(0, [leaves[0]!], note)).status).toBe(422)
    const large = await witness.request('/add-checkpoint', { method: 'POST', body: 'x'.repeat(70_000) })
    expect(large.status).toBe(413)
    expect((await witness.request('/add-checkpoint')).status).toBe(404)
    expect((await add(0, leaves.slice(0, 3))).status).toBe(200)
  })

  it('has a verifier key that is read back, and no other is', () => {
    const text = witnessKey(self)
    expect(parseWitnessKey(text)).toEqual({ name: self.name, publicKey: self.publicKey })
    for (const wrong of ['', 'x', text.replace('+', '-'), text.replace('witness', 'Witness'), `${text}A`])
      expect(parseWitnessKey(wrong)).toBeNull()
  })
})
