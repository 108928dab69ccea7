import { beforeEach, describe, expect, it } from 'vitest'
import type { RunRequest } from '../../shared/api/index.ts'
import { verifyRun } from '../../shared/ledger/index.ts'
import { auditLog } from '../../test/rehearsal/audit.ts'
import { type Player, type Theatre, twoSites } from '../../test/rehearsal/theatre.ts'
import { EventFold } from './events.ts'

const stage = { rounds: 2, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }
const evaluation = { data: 'e'.repeat(64), every: 2 }
const code = (value: string) => expect.objectContaining({ code: value })

/** A pruned space whose second stage trains what a new mask keeps: ten entries, then twenty. */
const pruned: Partial<RunRequest> = {
  space: {
    kind: 'pruned',
    tensors: [
      { name: 'a', shape: [4, 5], kept: 6 },
      { name: 'b', shape: [20], kept: 4 },
    ],
    mask: 'c'.repeat(64),
  },
  stages: [stage, { ...stage, prune: { keep: 0.5, weighted: true } }],
}

let theatre: Theatre
let north: Player
let south: Player

beforeEach(async () => {
  ;({ theatre, north, south } = await twoSites())
})

const types = () => theatre.types().filter((type) => type !== 'charge')
async function playRound(): Promise<void> {
  await theatre.play(north)
  await theatre.play(south)
}

describe('evaluation on public data', () => {
  it('comes before the first round, every so many rounds, and after the last; rounds wait for it', async () => {
    await theatre.begin({ stages: [{ ...stage, rounds: 3 }], evaluation })
    expect(types()).toEqual(['spec'])
    expect(await theatre.play(south)).toMatchObject({ kind: 'evaluation', round: 0 })
    await playRound()
    await playRound()
    expect(types().at(-1)).toBe('close')
    expect(await theatre.play(north)).toMatchObject({ kind: 'evaluation', round: 2 })
    await playRound()
    expect(await theatre.play(north)).toMatchObject({ kind: 'evaluation', round: 3 })
    expect(types().slice(1)).toEqual([
      ...['evaluation', 'open', 'close', 'open', 'close', 'evaluation'],
      ...['open', 'close', 'stage', 'evaluation', 'end'],
    ])
    expect(await theatre.run.describe()).toMatchObject({
      state: 'completed',
      evaluation: { round: 3, records: 100, correct: 53, loss: 693_147 },
    })
    verifyRun(theatre.log().records)
  })

  it('charges nothing, and goes to one worker at a time, who gets it again', async () => {
    await theatre.begin({ stages: [stage], evaluation })
    const lease = await theatre.run.takeLease(north)
    expect(lease).toMatchObject({ kind: 'evaluation', attempt: 0, dataset: 'north' })
    expect(await theatre.run.takeLease(south)).toBeNull()
    expect(await theatre.run.heldLease(south)).toBeNull()
    await theatre.restart()
    await theatre.run.resume()
    expect(await theatre.run.heldLease(north)).toMatchObject({ id: lease!.id })
    expect(theatre.dataset('north').describe()?.spent.charges).toBe(0)
    expect(await theatre.run.takeLease(await theatre.player('w-east', 'east'))).toBeNull()
  })

  it('is offered to another where one does not answer, and left out where nobody does', async () => {
    await theatre.begin({ stages: [stage], evaluation, leaseSeconds: 30 })
    for (const [attempt, player] of [north, south, north].entries()) {
      expect(await theatre.run.takeLease(player)).toMatchObject({ kind: 'evaluation', attempt })
      await theatre.advance(30_000)
    }
    const [, missed] = theatre.log().records
    expect(missed).toMatchObject({ type: 'evaluation', round: 0, answer: null })
    expect(await theatre.run.takeLease(north)).toMatchObject({ kind: 'round', round: 0 })
    verifyRun(theatre.log().records)
    expect((await theatre.run.describe())?.evaluation).toBeNull()
  })

  it('takes the first answer, a late one too, and repeats its own', async () => {
    await theatre.begin({ stages: [stage], evaluation, leaseSeconds: 30 })
    const slow = (await theatre.run.takeLease(north))!
    await theatre.advance(30_000)
    const other = (await theatre.run.takeLease(south))!
    const late = await theatre.reportFor(north, slow)
    await theatre.run.report(north, slow.id, late)
    await theatre.run.report(north, slow.id, late)
    const changed = await theatre.reportFor(north, slow, 1)
    await expect(theatre.run.report(north, slow.id, changed)).rejects.toEqual(code('report_conflict'))
    const beaten = await theatre.reportFor(south, other)
    await expect(theatre.run.report(south, other.id, beaten)).rejects.toEqual(code('lease_closed'))
  })

  it('must be of the model as it is, fit the task, and come from the one who has the lease', async () => {
    await theatre.begin({ stages: [stage], evaluation })
    const lease = (await theatre.run.takeLease(north))!
    const good = await theatre.reportFor(north, lease)
    if (good.kind !== 'evaluation') throw new Error('no evaluation')
    const { signature, ...unsigned } = good
    const wrong = [
      { stateHash: 'b'.repeat(64) },
      { round: 1 },
      { correct: 101 },
      { correct: null },
      { specHash: 'b'.repeat(64) },
      { dataset: 'south' },
    ]
    for (const change of wrong) {
      const report = await north.signer.sign({ ...unsigned, ...change })
      await expect(theatre.run.report(north, lease.id, report)).rejects.toEqual(code('bad_report'))
    }
    const forged = { ...good, correct: 99 }
    await expect(theatre.run.report(north, lease.id, forged)).rejects.toEqual(code('bad_signature'))
    const stolen = await south.signer.sign({ ...unsigned, dataset: 'south' })
    await expect(theatre.run.report(south, lease.id, stolen)).rejects.toEqual(code('forbidden'))
    const invented = { ...lease, id: `${theatre.runId}-e7-a0` }
    await expect(theatre.run.report(north, invented.id, await theatre.reportFor(north, invented))).rejects.toEqual(
      code('lease_closed'),
    )
    await theatre.run.report(north, lease.id, { ...unsigned, signature })
  })

  it('is told in events', async () => {
    await theatre.begin({ stages: [stage], evaluation })
    await theatre.play(north)
    const fold = new EventFold()
    const events = theatre.log().records.map((record) => fold.push(record))
    expect(events).toContainEqual(
      expect.objectContaining({
        type: 'round.evaluated',
        round: 0,
        evaluation: { records: 100, correct: 50, loss: 693_147 },
      }),
    )
  })

  it('is not taken for answered where the log may not go on', async () => {
    await theatre.begin({ stages: [stage], evaluation })
    const lease = (await theatre.run.takeLease(north))!
    const report = await theatre.reportFor(north, lease)
    const next = `runs/${theatre.runId}/log/${String(theatre.log().records.length).padStart(8, '0')}.jsonl`
    theatre.objects.objects.set(next, new TextEncoder().encode('somebody else'))
    await expect(theatre.run.report(north, lease.id, report)).rejects.toEqual(code('run_ended'))
    await expect(theatre.run.report(north, lease.id, report)).rejects.toEqual(code('lease_closed'))
    expect(await theatre.run.takeLease(south)).toBeNull()
    expect((await theatre.run.describe())?.state).toBe('failed')
  })

  it('survives a store that takes nothing for a while', async () => {
    await theatre.begin({ stages: [stage], evaluation })
    const lease = (await theatre.run.takeLease(north))!
    const report = await theatre.reportFor(north, lease)
    theatre.objects.fault = 'unavailable'
    await expect(theatre.run.report(north, lease.id, report)).rejects.toMatchObject({ code: 'unavailable' })
    theatre.objects.fault = null
    await theatre.run.report(north, lease.id, report)
    await theatre.run.idle()
    expect(types()).toEqual(['spec', 'evaluation', 'open'])
  })
})

describe('a mask made anew', () => {
  it('is made when the stage before has ended, and trained under', async () => {
    await theatre.begin(pruned)
    await playRound()
    await playRound()
    const lease = await theatre.play(south)
    expect(lease).toMatchObject({ kind: 'mask', stage: 1, round: 2 })
    await playRound()
    await playRound()
    const { records } = theatre.log()
    expect(types()).toEqual([
      ...['spec', 'open', 'close', 'open', 'close', 'stage', 'mask'],
      ...['open', 'close', 'open', 'close', 'stage', 'end'],
    ])
    expect(records.at(-1)).toMatchObject({ outcome: 'completed', stateHash: auditLog(records).stateHash })
    verifyRun(records)
    const fold = new EventFold()
    expect(records.map((record) => fold.push(record))).toContainEqual(
      expect.objectContaining({ type: 'stage.masked', stage: 1, mask: '1'.repeat(64) }),
    )
  })

  it('is replayed by a coordinator that starts again in the middle of its stage', async () => {
    await theatre.begin(pruned)
    await playRound()
    await playRound()
    await theatre.play(north)
    await playRound()
    await theatre.restart()
    await theatre.run.resume()
    await playRound()
    expect((await theatre.run.describe())?.state).toBe('completed')
  })

  it('waits for an answer however long it takes, after the evaluation', async () => {
    await theatre.begin({ ...pruned, evaluation, leaseSeconds: 30 })
    await theatre.play(north)
    await playRound()
    await playRound()
    expect(await theatre.play(north)).toMatchObject({ kind: 'evaluation' })
    for (let attempt = 0; attempt < 5; attempt++) {
      expect(await theatre.run.takeLease(north)).toMatchObject({ kind: 'mask', attempt })
      await theatre.advance(30_000)
    }
    expect(await theatre.play(south)).toMatchObject({ kind: 'mask', attempt: 5 })
    expect(types().at(-1)).toBe('open')
  })

  it('must keep what the stage says, with slopes where its score has any', async () => {
    await theatre.begin(pruned)
    await playRound()
    await playRound()
    const lease = (await theatre.run.takeLease(north))!
    const good = await theatre.reportFor(north, lease)
    if (good.kind !== 'mask') throw new Error('no mask')
    const { signature: _, ...unsigned } = good
    expect(good.kept).toEqual([20, 0])
    const wrong = [
      { kept: [19, 0] },
      { kept: [21, -1] },
      { kept: [21, 0] },
      { kept: [20] },
      { stage: 2 },
      { slopes: null },
      { slopes: { first: [1], second: [1, 2] } },
      { stateHash: 'b'.repeat(64) },
    ]
    for (const change of wrong) {
      // A number below 0 is none that the API lets through: signed as it stands.
      const signed = await north.signer.sign({ ...unsigned, ...change }).catch(() => ({ ...good, ...change }))
      await expect(theatre.run.report(north, lease.id, signed)).rejects.toEqual(
        expect.objectContaining({ code: expect.stringMatching(/^bad_(report|signature)$/) }),
      )
    }
    await theatre.run.report(north, lease.id, good)
  })
})
