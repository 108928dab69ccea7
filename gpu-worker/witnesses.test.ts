import { beforeEach, describe, expect, it } from 'vitest'
import { openLogKey } from '../coordinator/ledger/index.ts'
import type { Lease } from '../shared/api/index.ts'
import {
  cosign,
  fromBase64,
  type PostText,
  parseNote,
  rootOf,
  toBase64,
  verifyConsistency,
  type Witness,
} from '../shared/ledger/index.ts'
import { treeOf } from '../shared/ledger/merkle.ts'
import { type Theatre, twoSites } from '../test/rehearsal/theatre.ts'
import type { Coordinator } from './coordinator.ts'
import { catchUp, type FollowedRun, followRun } from './run-log.ts'
import { requireCosigned } from './witnesses.ts'

describe('the witnesses of a site', () => {
  let theatre: Theatre
  let lease: Lease
  let run: FollowedRun
  let witness: Witness
  let asked: string[]
  let post: PostText
  beforeEach(async () => {
    const stage = await twoSites()
    theatre = stage.theatre
    await theatre.begin()
    lease = (await theatre.run.takeLease(stage.north))!
    const coordinator = {
      updates: async (_run: string, after: number) => {
        const { head, segments } = await theatre.run.updates(after)
        return { head, checkpoint: null, segments: segments.map(({ first }) => ({ first, url: String(first) })) }
      },
      download: async (url: string) =>
        theatre.objects.objects.get(`runs/${theatre.runId}/log/${url.padStart(8, '0')}.jsonl`)!,
    } as unknown as Coordinator
    // The log goes on behind the lease, and the worker reads all of it.
    await theatre.play(stage.south)
    await theatre.run.setPaused(true)
    run = await followRun(coordinator, lease)
    const key = await openLogKey('rehearsal', new Uint8Array(32))
    const log = { name: key.name, publicKey: toBase64(key.publicKey) }
    await catchUp(run, lease, { dataset: 'north', coordinator, log })
    const self = await openLogKey('witness.example', new Uint8Array(32).fill(2))
    witness = { url: new URL('http://127.0.0.1/add-checkpoint'), signer: self }
    asked = []
    post = async (_url, body) => {
      asked.push(body)
      const note = body.slice(body.indexOf('\n\n') + 2)
      return { status: 200, text: await cosign(parseNote(note).text, 1_800_000_000, self) }
    }
  })
  const ask = (cosignatures?: number, by = post) =>
    requireCosigned(cosignatures === undefined ? run : { ...run, spec: { ...run.spec, cosignatures } }, lease, {
      witnesses: [witness],
      post: by,
    })

  it('cosign the checkpoint of the lease, though the log has gone on', async () => {
    expect(run.head.size).toBeGreaterThan(lease.head.size)
    await ask()
    await ask(1)
    expect(asked[0]).toBe(`old 0\n\n${lease.note}`)
    // One that saw a part of it is shown that it continues.
    let first = true
    await ask(1, async (url, body) => {
      if (!first) return await post(url, body)
      first = false
      return { status: 409, text: '2\n' }
    })
    const body = asked.at(-1)!
    const [head, ...proof] = body.slice(0, body.indexOf('\n\n')).split('\n')
    expect(head).toBe('old 2')
    const rootAt = (size: number) => ({ size, root: rootOf(treeOf(run.leaves.slice(0, size))) })
    const hashes = proof.map((line) => fromBase64(line)!)
    expect(verifyConsistency(hashes, { older: rootAt(2), newer: rootAt(lease.head.size) })).toBe(true)
  })

  it.each<[string, Awaited<ReturnType<PostText>>, string]>([
    ['saw a longer log', { status: 409, text: '99' }, 'log_forked'],
    ['saw another log', { status: 422, text: '' }, 'log_forked'],
    ['signs by another key', { status: 200, text: '\u2014 witness.example AAAA\n' }, 'log_forked'],
    ['is out of order', { status: 500, text: '' }, 'unreachable'],
  ])('stop the worker where one %s', async (_, answer, code) => {
    await expect(ask(1, async () => answer)).rejects.toMatchObject({ code })
  })

  it('stop it where they are away, or too few', async () => {
    await expect(ask(1, () => Promise.reject(new Error('away')))).rejects.toMatchObject({ code: 'unreachable' })
    await expect(ask(2)).rejects.toMatchObject({ code: 'policy_refused' })
    expect(asked).toHaveLength(0)
  })
})
