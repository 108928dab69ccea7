import { describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { finishedRun } from '../../test/rehearsal/theatre.ts'
import { epsilonBounds } from '../privacy/index.ts'
import { auditRun } from './audit.ts'
import { canonicalJson } from './canonical.ts'
import { runLog } from './chain.ts'
import { leafHash, rootOf, treeOf } from './merkle.ts'
import { type Signer, signCheckpoint } from './note.ts'
import { openProof, proofOfRecord } from './proof.ts'
import type { AuditError } from './read.ts'
import type { RunRecord } from './record.ts'

/** A run that two sites worked off, with its objects. */
async function finished() {
  const theatre = await finishedRun()
  const key = await openLogKey('rehearsal', new Uint8Array(32))
  const signer: Signer = { name: `rehearsal/${theatre.runId}`, publicKey: key.publicKey }
  const objects = new Map(theatre.objects.objects)
  return { run: theatre.runId, theatre, signer, key, objects }
}

type Finished = Awaited<ReturnType<typeof finished>>

const auditOf = (
  { run, key: { publicKey }, name = 'rehearsal' }: Finished & { name?: string },
  objects: ReadonlyMap<string, Uint8Array>,
) => auditRun({ read: async (key) => objects.get(key) ?? null }, { run, name, publicKey, verify: verifyEd25519 })
const faultOf = async (audit: Promise<unknown>) =>
  await audit.then(
    () => 'holds',
    (error: AuditError) => `${error.code} ${error.object}`,
  )
const recordsIn = (objects: ReadonlyMap<string, Uint8Array>, run: string) =>
  [...objects]
    .filter(([key]) => key.startsWith(`runs/${run}/log/`))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, bytes]) => Buffer.from(bytes).toString().trimEnd().split('\n'))

/** The same log with one record changed, chained and signed anew by its own key: what a coordinator could do. */
async function forged(stage: Finished, change: (record: Record<string, unknown>) => Record<string, unknown> | null) {
  const { run, objects, signer, key } = stage
  const lines: string[] = []
  let prev = '0'.repeat(64)
  const { hashHex } = await import('./canonical.ts')
  for (const line of recordsIn(objects, run)) {
    const changed = change(JSON.parse(line))
    if (!changed) continue
    const placed = canonicalJson({ ...changed, seq: lines.length, prev })
    lines.push(placed)
    prev = hashHex(placed)
  }
  const root = rootOf(treeOf(lines.map(leafHash)))
  const note = await signCheckpoint({ origin: signer.name, size: lines.length, root }, signer, key.sign)
  const others = [...objects].filter(([name]) => !name.startsWith(`runs/${run}/log/`))
  return new Map([
    ...others,
    [runLog.segmentKey(run, 0), Buffer.from(`${lines.join('\n')}\n`)],
    [runLog.checkpointKey(run), Buffer.from(note)],
  ])
}

describe('an audit from the objects alone', () => {
  it('tells what the log says, and recomputes what it may cost', async () => {
    const stage = await finished()
    const audit = await auditOf(stage, stage.objects)
    const facts = (await stage.theatre.run.describe())!
    expect(audit).toMatchObject({ outcome: 'completed', rounds: 5, unsigned: 0, stateHash: facts.stateHash })
    expect(audit.checkpoint).toMatchObject({ origin: stage.signer.name, size: facts.head.size })
    expect(audit.adapter).toEqual(facts.adapter)
    for (const { dataset, epsilon, lower, charges, reports } of audit.spent) {
      const told = facts.spent.find((each) => each.dataset === dataset)!
      expect({ epsilon, charges, reports }).toEqual({ epsilon: told.epsilon, charges: 5, reports: 5 })
      expect(lower).toBeLessThanOrEqual(epsilon)
    }
    const events = audit.records.flatMap((r) =>
      r.type === 'charge' && r.dataset === 'north' ? [{ event: r.event, count: 1 }] : [],
    )
    expect(audit.curve.at(-1)).toMatchObject({ round: 5, epsilon: epsilonBounds(events, 1e-5).epsilon })
    expect(audit.signers.map(({ dataset }) => dataset).sort()).toEqual(['north', 'south'])
  })

  it('finds every byte that is flipped, and every object that is cut, gone, or in the place of another', async () => {
    const stage = await finished()
    const keys = [...stage.objects.keys()].filter((key) => !key.includes('/checkpoints/'))
    expect(keys.length).toBeGreaterThan(5)
    const changed = (key: string, bytes: Uint8Array | null) => {
      const objects = new Map(stage.objects)
      if (bytes) objects.set(key, bytes)
      else objects.delete(key)
      return objects
    }
    for (const key of keys) {
      const bytes = stage.objects.get(key)!
      const places = new Set(
        Array.from({ length: 12 }, (_, i) => Math.floor((i / 12) * bytes.length)).concat(bytes.length - 1),
      )
      for (const place of places) {
        for (const bit of [1, 128]) {
          const flipped = bytes.slice()
          flipped[place]! ^= bit
          expect(await faultOf(auditOf(stage, changed(key, flipped))), `${key} at ${place}`).not.toBe('holds')
        }
      }
      expect(await faultOf(auditOf(stage, changed(key, bytes.slice(0, -1))))).not.toBe('holds')
      expect(await faultOf(auditOf(stage, changed(key, new Uint8Array())))).not.toBe('holds')
      expect(await faultOf(auditOf(stage, changed(key, null))), `${key} gone`).not.toBe('holds')
      const other = stage.objects.get(keys.find((each) => each !== key)!)!
      expect(await faultOf(auditOf(stage, changed(key, other))), `${key} swapped`).not.toBe('holds')
    }
  }, 120_000)

  it('finds what a coordinator writes that has the key of its log', async () => {
    const stage = await finished()
    const { run } = stage
    expect(await faultOf(auditOf(stage, await forged(stage, (record) => record)))).toBe('holds')
    const log = runLog.segmentKey(run, 0)
    const inClose =
      (change: (close: Extract<RunRecord, { type: 'close' }>) => object) => (record: Record<string, unknown>) =>
        record.type === 'close' && record.round === 2 ? { ...record, ...change(record as never) } : record
    const cases: [string, (record: Record<string, unknown>) => Record<string, unknown> | null][] = [
      ['uncharged_report', (r) => (r.type === 'charge' && r.round === 1 && r.dataset === 'north' ? null : r)],
      [
        'uncharged_report',
        (r) => (r.type === 'charge' ? { ...r, event: { ...(r.event as object), noiseMultiplier: 1e6 } } : r),
      ],
      ['wrong_update', inClose(({ coefficients }) => ({ coefficients: coefficients.map((c) => c + 1) }))],
      // What is evaluated next is signed with it, so that the last round alone can lie of its state.
      ['wrong_state', (r) => (r.type === 'close' && r.round === 4 ? { ...r, stateHash: 'a'.repeat(64) } : r)],
      ['bad_report_signature', inClose(() => ({ stateHash: 'a'.repeat(64) }))],
      [
        'bad_report_signature',
        inClose(({ reports }) => ({
          reports: reports.map((report) => ({ ...report, signature: `${'A'.repeat(86)}==` })),
        })),
      ],
      [
        'bad_report_signature',
        inClose(({ reports }) => ({
          reports: reports.map((report) => ({ ...report, worker: 'w', publicKey: `${'A'.repeat(43)}=` })),
        })),
      ],
    ]
    for (const [code, change] of cases) {
      expect([code, await faultOf(auditOf(stage, await forged(stage, change)))]).toEqual([code, `${code} ${log}`])
    }
    const ended = await forged(stage, (r) => (r.type === 'end' ? { ...r, stateHash: 'a'.repeat(64) } : r))
    expect(await faultOf(auditOf(stage, ended))).toBe(`wrong_state ${log}`)
    const adapter = await forged(stage, (r) =>
      r.type === 'end' ? { ...r, adapter: { ...(r.adapter as object), sha256: 'a'.repeat(64) } } : r,
    )
    expect(await faultOf(auditOf(stage, adapter))).toBe(`wrong_adapter runs/${run}/adapter.safetensors`)
  })

  it('does not take the checkpoint of another key, another log, or another time', async () => {
    const stage = await finished()
    const { run, signer, objects } = stage
    const note = runLog.checkpointKey(run)
    const stranger = await openLogKey('rehearsal', new Uint8Array(32).fill(1))
    expect(await faultOf(auditOf({ ...stage, key: stranger }, objects))).toBe(`unsigned ${note}`)
    expect(await faultOf(auditOf({ ...stage, name: 'elsewhere' }, objects))).toBe(`unsigned ${note}`)
    const records = recordsIn(objects, run)
    const early = { origin: signer.name, size: 4, root: rootOf(treeOf(records.slice(0, 4).map(leafHash))) }
    const old = new Map(objects).set(note, Buffer.from(await signCheckpoint(early, signer, stage.key.sign)))
    expect(await faultOf(auditOf(stage, old))).toBe(`unsigned_end ${note}`)
    const between = { ...early, size: 3, root: rootOf(treeOf(records.slice(0, 3).map(leafHash))) }
    const odd = new Map(objects).set(note, Buffer.from(await signCheckpoint(between, signer, stage.key.sign)))
    expect(await faultOf(auditOf(stage, odd))).toBe(`forked ${note}`)
  })

  it('proves one record to those who have nothing but the proof', async () => {
    const stage = await finished()
    const { signer, objects, run } = stage
    const audit = await auditOf(stage, objects)
    const note = Buffer.from(objects.get(runLog.checkpointKey(run))!).toString()
    const close = audit.records.find((record) => record.type === 'close' && record.round === 3)!
    const proof = proofOfRecord(audit.records, close.seq, { note, size: audit.checkpoint.size })
    expect(await openProof(proof, signer, verifyEd25519)).toEqual({ record: close, checkpoint: audit.checkpoint })
    const refused = async (text: string, by = signer) =>
      await openProof(text, by, verifyEd25519).then(
        () => 'accepted',
        (error: { code: string }) => error.code,
      )
    const lines = proof.split('\n')
    const with_ = (index: number, line: string) => lines.with(index, line).join('\n')
    expect(await refused(with_(2, `index ${close.seq - 1}`))).toBe('wrong_proof')
    expect(await refused(with_(1, `extra ${Buffer.from('{}').toString('base64')}`))).toBe('wrong_proof')
    expect(await refused(with_(3, lines[4]!))).toBe('wrong_proof')
    expect(await refused(with_(0, 'c2sp.org/tlog-proof@v2'))).toBe('not_a_proof')
    expect(await refused(with_(2, `index 0${close.seq}`))).toBe('not_a_proof')
    expect(await refused('')).toBe('not_a_proof')
    expect(await refused(proof, { ...signer, name: 'elsewhere' })).toBe('unsigned')
    expect(await refused(proof.replace(/.{8}==?\n$/, 'AAAAAAA=\n'))).toMatch(/bad_signature|not_a_note/)
  })
})
