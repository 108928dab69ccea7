import { beforeEach, describe, expect, it } from 'vitest'
import { openLogKey } from '../coordinator/ledger/index.ts'
import type { Lease } from '../shared/api/index.ts'
import { leafHash, rootOf, signCheckpoint, toBase64 } from '../shared/ledger/index.ts'
import { appendLeaf } from '../shared/ledger/merkle.ts'
import { type Theatre, twoSites } from '../test/rehearsal/theatre.ts'
import type { Coordinator } from './coordinator.ts'
import { catchUp, followRun } from './run-log.ts'

/** A worker that follows a real run by its log. */
describe('the log that a lease rests on', () => {
  let theatre: Theatre
  let lease: Lease
  let coordinator: Coordinator
  const identity = async (seed = 0) => {
    const key = await openLogKey('rehearsal', new Uint8Array(32).fill(seed))
    return { key, log: { name: key.name, publicKey: toBase64(key.publicKey) } }
  }
  beforeEach(async () => {
    const stage = await twoSites()
    theatre = stage.theatre
    await theatre.begin()
    await theatre.play(stage.north)
    await theatre.play(stage.south)
    lease = (await theatre.run.takeLease(stage.north))!
    const read = { updates: async (_run: string, after: number) => await theatre.run.updates(after) }
    coordinator = {
      updates: async (run, after) => {
        const { head, segments } = await read.updates(run, after)
        return { head, checkpoint: null, segments: segments.map(({ first }) => ({ first, url: String(first) })) }
      },
      download: async (url) => {
        const key = `runs/${theatre.runId}/log/${url.padStart(8, '0')}.jsonl`
        return theatre.objects.objects.get(key)!
      },
    } as Coordinator
  })

  const follow = async (changed: Partial<Lease> = {}, seed = 0) => {
    const { log } = await identity(seed)
    const asked = { ...lease, ...changed } as Lease
    const run = await followRun(coordinator, asked)
    await catchUp(run, asked, { dataset: 'north', coordinator, log })
    return run
  }
  const refused = expect.objectContaining({ code: 'log_mismatch' })

  it('is signed as far as the lease goes, and followed', async () => {
    const run = await follow()
    expect(run.head.size).toBe(lease.head.size)
    // Again, with nothing new to read.
    await catchUp(run, lease, { dataset: 'north', coordinator, log: (await identity()).log })
  })

  it('is refused where another key signed it, or nobody did', async () => {
    await expect(follow({}, 1)).rejects.toEqual(refused)
    await expect(follow({ note: 'nothing' })).rejects.toEqual(refused)
    await expect(follow({ note: lease.note.replace(/.{8}=\n$/, 'AAAAAAA=\n') })).rejects.toEqual(refused)
  })

  it('is refused where what was signed is another log, or another part of it', async () => {
    const { key } = await identity()
    const run = await follow()
    const signer = { name: `rehearsal/${theatre.runId}`, publicKey: key.publicKey }
    const sign = (at: { size: number; root: ReturnType<typeof rootOf> }, name = signer.name) =>
      signCheckpoint({ origin: name, ...at }, { ...signer, name }, key.sign)
    const { size, tree } = run.head
    const root = rootOf(tree)
    await expect(follow({ note: await sign({ size, root }) })).resolves.toBeDefined()
    const forked = rootOf(appendLeaf(tree, leafHash('more')))
    await expect(follow({ note: await sign({ size, root: forked }) })).rejects.toEqual(refused)
    await expect(follow({ note: await sign({ size: size - 1, root }) })).rejects.toEqual(refused)
    await expect(follow({ note: await sign({ size, root }, 'rehearsal/run-other') })).rejects.toEqual(refused)
  })
})
