import { beforeEach, describe, expect, it } from 'vitest'
import { leafHash, signCheckpoint, verifyRun } from '../../shared/ledger/index.ts'
import { auditLog } from '../../test/rehearsal/audit.ts'
import { type Player, Theatre, twoSites } from '../../test/rehearsal/theatre.ts'
import { openLogKey } from '../ledger/index.ts'

const stage = { rounds: 4, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }
const code = (value: string) => expect.objectContaining({ code: value })

let theatre: Theatre
let north: Player
let south: Player

beforeEach(async () => {
  ;({ theatre, north, south } = await twoSites())
})

const charges = (dataset: string) => theatre.dataset(dataset).describe()?.spent.charges
const state = async () => (await theatre.run.describe())?.state

describe('create', () => {
  it('writes the spec, opens the first round and tells the directory', async () => {
    await theatre.begin({ stages: [stage] })
    expect(theatre.types()).toEqual(['spec', 'open', 'charge', 'charge'])
    expect(theatre.announced).toEqual(['running'])
  })

  it('again with the same spec is the same, with another a conflict', async () => {
    const spec = await theatre.begin({ stages: [stage] })
    await theatre.run.create(theatre.runId, spec)
    await expect(theatre.run.create(theatre.runId, { ...spec, leaseSeconds: 7 })).rejects.toEqual(code('conflict'))
  })
})

describe('a round', () => {
  it('is closed and the next opened in one segment', async () => {
    await theatre.begin({ stages: [stage] })
    await theatre.play(north)
    await theatre.play(south)
    const keys = [...theatre.objects.objects.keys()].filter((key) => key.startsWith('runs/') && key.includes('/log/'))
    expect(keys).toHaveLength(3)
    expect(theatre.types().slice(4)).toEqual(['close', 'open', 'charge', 'charge'])
  })

  it('closes at the deadline with a quorum, and not before', async () => {
    await theatre.begin({ stages: [stage], quorum: 1, deadlineSeconds: 60, leaseSeconds: 600 })
    await theatre.play(north)
    await theatre.run.takeLease(south)
    await theatre.advance(59_000)
    expect(theatre.types()).not.toContain('close')
    await theatre.advance(1_000)
    const close = theatre.log().records.find((record) => record.type === 'close')
    expect(close?.reports.map((report) => report.dataset)).toEqual(['north'])
  })

  it('waits beyond the deadline until the quorum is there', async () => {
    await theatre.begin({ stages: [stage], quorum: 1, deadlineSeconds: 60, leaseSeconds: 600 })
    await theatre.run.takeLease(south)
    await theatre.advance(61_000)
    expect(theatre.types()).not.toContain('close')
    await theatre.play(north)
    expect(theatre.types()).toContain('close')
  })

  it('refuses a report after its round closed, and repeats the answer to one that was in time', async () => {
    await theatre.begin({ stages: [stage], quorum: 1, deadlineSeconds: 60, leaseSeconds: 600 })
    const late = (await theatre.run.takeLease(south))!
    const lateReport = await theatre.reportFor(south, late)
    const lease = (await theatre.run.takeLease(north))!
    const report = await theatre.reportFor(north, lease)
    await theatre.run.report(north, lease.id, report)
    await theatre.advance(61_000)
    await expect(theatre.run.report(south, late.id, lateReport)).rejects.toEqual(code('lease_closed'))
    await theatre.run.report(north, lease.id, report)
  })
})

describe('leases', () => {
  it('come back to the worker that holds them, without a new charge, after a restart too', async () => {
    await theatre.begin({ stages: [stage] })
    const first = await theatre.run.takeLease(north)
    expect(await theatre.run.takeLease(north)).toEqual(first)
    await theatre.restart()
    await theatre.run.resume()
    expect(await theatre.run.heldLease(north)).toMatchObject({ id: first!.id })
    expect(charges('north')).toBe(1)
  })

  it('go to one worker only', async () => {
    await theatre.begin({ stages: [stage] })
    await theatre.run.takeLease(north)
    expect(await theatre.run.takeLease(await theatre.player('w-other', 'north'))).toBeNull()
  })

  it('are void when not reported in time, and re-issued with a new charge', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    const lost = (await theatre.run.takeLease(north))!
    const report = await theatre.reportFor(north, lost)
    await theatre.advance(30_000)
    expect(theatre.types().at(-1)).toBe('void')
    expect(charges('north')).toBe(1)
    const again = (await theatre.run.takeLease(await theatre.player('w-other', 'north')))!
    expect(again).toMatchObject({ round: 0, attempt: 1 })
    expect(again.id).not.toBe(lost.id)
    expect(charges('north')).toBe(2)
    expect(theatre.types().at(-1)).toBe('charge')
    await expect(theatre.run.report(north, lost.id, report)).rejects.toEqual(code('lease_closed'))
  })

  it('that nobody took are not lost', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    await theatre.advance(3_600_000)
    expect(theatre.types()).not.toContain('void')
  })

  it('get their time again when the coordinator was away', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    const lease = (await theatre.run.takeLease(north))!
    theatre.now += 3_600_000
    await theatre.restart()
    await theatre.run.resume()
    expect(await theatre.run.heldLease(north)).toMatchObject({ id: lease.id })
    await theatre.run.report(north, lease.id, await theatre.reportFor(north, lease))
  })

  it('lost too often end the run when its budget has no spare charge left', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30, spareCharges: 1 })
    for (let attempt = 0; attempt < 10 && (await state()) === 'running'; attempt++) {
      await theatre.run.takeLease(north)
      await theatre.advance(30_000)
    }
    const facts = (await theatre.run.describe())!
    expect(facts.state).toBe('budget_exhausted')
    expect(facts.reason).toContain('north')
    for (const { epsilon } of facts.spent) expect(epsilon).toBeLessThanOrEqual(facts.spec.budget.epsilon)
    expect(theatre.types().at(-1)).toBe('end')
  })
})

describe('a dataset that can pay for no other lease', () => {
  const loseAll = async (player: Player) => {
    let lost = 0
    while (await theatre.run.takeLease(player)) {
      await theatre.advance(30_000)
      lost += 1
    }
    return lost
  }
  const request = { stages: [stage], quorum: 1, deadlineSeconds: 86_000, leaseSeconds: 30, spareCharges: 1 }

  it('does not end a round that has its quorum without it', async () => {
    await theatre.begin(request)
    await theatre.play(south)
    expect(await loseAll(north)).toBeGreaterThan(1)
    expect(await state()).toBe('running')
    await theatre.advance(86_000_000)
    const close = theatre.log().records.find((record) => record.type === 'close')
    expect(close?.reports.map(({ dataset }) => dataset)).toEqual(['south'])
  })

  it('does not end a round whose quorum others can still meet, and ends it once they can not', async () => {
    await theatre.begin(request)
    await loseAll(north)
    expect(await state()).toBe('running')
    await theatre.run.takeLease(south)
    await theatre.advance(30_000)
    expect(await theatre.run.takeLease(north)).toBeNull()
    expect(await state(), 'south can pay for another').toBe('running')
    await loseAll(south)
    const facts = (await theatre.run.describe())!
    expect(facts.state).toBe('budget_exhausted')
    expect(facts.reason).toContain('south')
    expect(theatre.types()).not.toContain('close')
  })
})

describe('reports', () => {
  it('come in pairs: the same again is accepted, another is a conflict', async () => {
    await theatre.begin({ stages: [stage] })
    const lease = (await theatre.run.takeLease(north))!
    const report = await theatre.reportFor(north, lease)
    await theatre.run.report(north, lease.id, report)
    await theatre.run.report(north, lease.id, report)
    const other = await theatre.reportFor(north, lease, 1)
    await expect(theatre.run.report(north, lease.id, other)).rejects.toEqual(code('report_conflict'))
    expect((await theatre.run.describe())?.spent[0]).toMatchObject({ dataset: 'north', reports: 1 })
  })

  it('are refused from those who do not hold the lease', async () => {
    await theatre.begin({ stages: [stage] })
    const lease = (await theatre.run.takeLease(north))!
    const twin = await theatre.player('w-twin', 'north')
    await expect(theatre.run.report(twin, lease.id, await theatre.reportFor(twin, lease))).rejects.toEqual(
      code('forbidden'),
    )
    await expect(theatre.run.report(south, lease.id, await theatre.reportFor(south, lease))).rejects.toEqual(
      code('bad_report'),
    )
    const stranger = await theatre.player('w-far', 'elsewhere')
    await expect(theatre.run.report(stranger, lease.id, await theatre.reportFor(stranger, lease))).rejects.toEqual(
      code('not_found'),
    )
  })

  it('must fit lease, run, round, state and length, and be signed by the enrolled key', async () => {
    await theatre.begin({ stages: [stage] })
    const lease = (await theatre.run.takeLease(north))!
    const good = await theatre.roundReportFor(north, lease)
    const { signature: _, ...unsigned } = good
    const wrong = [
      { specHash: 'b'.repeat(64) },
      { stateHash: 'b'.repeat(64) },
      { round: 1 },
      { integers: good.integers.slice(1) },
      { dataset: 'south' },
      { run: 'run-other' },
      { lease: `${lease.id}0` },
    ]
    for (const change of wrong) {
      const report = await north.signer.sign({ ...unsigned, ...change })
      await expect(theatre.run.report(north, lease.id, report)).rejects.toEqual(code('bad_report'))
    }
    const forged = { ...good, integers: good.integers.map((n) => n + 1) }
    await expect(theatre.run.report(north, lease.id, forged)).rejects.toEqual(code('bad_signature'))
    const keyless = { ...north, publicKey: null }
    await expect(theatre.run.report(keyless, lease.id, good)).rejects.toEqual(code('bad_signature'))
    await theatre.run.report(north, lease.id, good)
  })

  it('must lie within the reach of their dataset', async () => {
    const { stages } = await theatre.begin({ stages: [{ ...stage, noiseMultiplier: 2, lossShare: 0 }] })
    expect(stages[0]?.grid).toBe(2 ** -20)
    // 1000 units at the clip of 2^20 steps, and 40 deviations of twice that: far below what a report can carry.
    const reach = 1080 * 2 ** 20
    const lease = (await theatre.run.takeLease(north))!
    const { signature: _, ...unsigned } = await theatre.roundReportFor(north, lease)
    for (const beyond of [reach + 1, -reach - 1]) {
      const report = await north.signer.sign({ ...unsigned, integers: [0, beyond] })
      await expect(theatre.run.report(north, lease.id, report)).rejects.toEqual(code('bad_report'))
    }
    await theatre.run.report(north, lease.id, await north.signer.sign({ ...unsigned, integers: [reach, -reach] }))
  })

  it('for a lease that never was are not found', async () => {
    await theatre.begin({ stages: [stage] })
    const lease = (await theatre.run.takeLease(north))!
    const id = `${theatre.runId}-r3-d0-a0`
    const report = await theatre.reportFor(north, { ...lease, id })
    await expect(theatre.run.report(north, id, report)).rejects.toEqual(code('not_found'))
  })
})

describe('budgets', () => {
  it('end a run that a dataset can not pay for before its first round, with a reason', async () => {
    const small = new Theatre({ runId: 'run-00000000000000aa' })
    await small.addDataset('north', 20)
    await small.addDataset('south', 5)
    theatre = small
    await small.begin({ stages: [{ ...stage, rounds: 50, noiseMultiplier: 1 }], budget: { epsilon: 100, delta: 1e-5 } })
    const facts = (await small.run.describe())!
    expect(facts).toMatchObject({ state: 'budget_exhausted', round: 0 })
    expect(facts.reason).toContain('lifetime budget of dataset south')
    for (const id of ['north', 'south'])
      expect(small.dataset(id).describe()).toMatchObject({ spent: { charges: 0 }, reserved: { charges: 0 } })
    expect(small.announced.at(-1)).toBe('budget_exhausted')
  })

  it('are reserved for a run while it goes on, and return when it ends, however it ends', async () => {
    const { spareCharges } = await theatre.begin({ stages: [stage] })
    const facts = () => theatre.dataset('north').describe()!
    expect([facts().spent.charges, facts().reserved.charges]).toEqual([1, stage.rounds + spareCharges - 1])
    await theatre.play(north)
    await theatre.play(south)
    await theatre.run.cancel()
    expect([facts().spent.charges, facts().reserved.charges]).toEqual([2, 0])
    const other = new Theatre({ runId: 'run-00000000000000bb' })
    other.borrowDatasets(theatre)
    await other.begin({ stages: [{ ...stage, rounds: 1 }] })
    await other.play(north)
    await other.play(south)
    expect((await other.run.describe())?.state).toBe('completed')
    expect(facts().reserved.charges).toBe(0)
  })

  it('return too where the process died between the end and their return', async () => {
    await theatre.begin({ stages: [{ ...stage, rounds: 1 }] })
    await theatre.play(north)
    const release = theatre.dataset('south').release.bind(theatre.dataset('south'))
    theatre.dataset('south').release = () => {
      throw new Error('died here')
    }
    await theatre.play(south).catch(() => null)
    expect(theatre.types().at(-1)).toBe('end')
    // The directory has not heard of the end, and so looks after the run again.
    expect(theatre.announced.at(-1)).toBe('running')
    theatre.dataset('south').release = release
    await theatre.restart()
    await theatre.run.resume()
    expect(theatre.dataset('south').describe()?.reserved.charges).toBe(0)
    expect(theatre.announced.at(-1)).toBe('completed')
  })

  it('hold when runs share a dataset: together they never exceed its lifetime', async () => {
    const first = new Theatre({ runId: 'run-00000000000000aa' })
    const actor = await first.addDataset('north', 6)
    const runs = [first, new Theatre({ runId: 'run-00000000000000bb' }), new Theatre({ runId: 'run-00000000000000cc' })]
    const request = { stages: [{ ...stage, rounds: 40, noiseMultiplier: 0.8 }], budget: { epsilon: 100, delta: 1e-5 } }
    for (const run of runs) {
      if (run !== first) run.borrowDatasets(first)
      await run.begin(request)
    }
    for (let live = true; live; ) {
      const played = await Promise.all(runs.map((run) => run.play(north)))
      live = played.some((lease) => lease !== null)
    }
    const { spent } = actor.describe()!
    expect(spent.ofBudget).toBeLessThanOrEqual(6)
    const logged = runs.flatMap((run) => run.log().records.filter((record) => record.type === 'charge'))
    expect(logged).toHaveLength(spent.charges)
    const states = await Promise.all(runs.map(async (run) => (await run.run.describe())!.state))
    expect(states).toContain('budget_exhausted')
  })
})

describe('cancel', () => {
  it('ends the run, again is the same, and nothing more is offered', async () => {
    await theatre.begin({ stages: [stage] })
    const lease = (await theatre.run.takeLease(north))!
    const report = await theatre.reportFor(north, lease)
    await theatre.run.cancel()
    await theatre.run.cancel()
    expect(await state()).toBe('cancelled')
    expect(theatre.types().filter((type) => type === 'end')).toHaveLength(1)
    expect(await theatre.run.takeLease(south)).toBeNull()
    await expect(theatre.run.report(north, lease.id, report)).rejects.toEqual(code('lease_closed'))
    expect(theatre.announced.at(-1)).toBe('cancelled')
  })

  it('of a run that completed is refused', async () => {
    await theatre.begin({ stages: [{ ...stage, rounds: 1 }] })
    await theatre.play(north)
    await theatre.play(south)
    expect(await state()).toBe('completed')
    await expect(theatre.run.cancel()).rejects.toEqual(code('run_ended'))
  })
})

describe('the object store', () => {
  it('out of reach: nothing is offered, reports are kept, and all goes on when it is back', async () => {
    await theatre.begin({ stages: [stage] })
    const lease = (await theatre.run.takeLease(north))!
    await theatre.play(south)
    const report = await theatre.reportFor(north, lease)
    theatre.objects.fault = 'unavailable'
    await theatre.run.report(north, lease.id, report)
    await theatre.run.idle()
    await expect(theatre.run.takeLease(north)).rejects.toEqual(code('unavailable'))
    expect(theatre.alarmAt).not.toBeNull()
    theatre.objects.fault = null
    await theatre.advance(5_000)
    expect((await theatre.run.takeLease(north))?.round).toBe(1)
    auditLog(theatre.log().records)
  })

  it('out of reach with a round half closed: a late report waits to learn that it is too late', async () => {
    await theatre.begin({ stages: [stage], quorum: 1, deadlineSeconds: 60, leaseSeconds: 600 })
    const lease = (await theatre.run.takeLease(south))!
    const late = await theatre.reportFor(south, lease)
    const inTime = (await theatre.run.takeLease(north))!
    const report = await theatre.reportFor(north, inTime)
    await theatre.run.report(north, inTime.id, report)
    await theatre.run.idle()
    theatre.objects.fault = 'unavailable'
    await theatre.advance(60_000)
    await expect(theatre.run.report(south, lease.id, late)).rejects.toEqual(code('unavailable'))
    await theatre.run.report(north, inTime.id, report)
    theatre.objects.fault = null
    await expect(theatre.run.report(south, lease.id, late)).rejects.toEqual(code('lease_closed'))
    const close = theatre.log().records.find((record) => record.type === 'close')
    expect(close?.reports.map(({ dataset }) => dataset)).toEqual(['north'])
    expect((await theatre.run.describe())?.spent[1]).toMatchObject({ dataset: 'south', reports: 0 })
  })

  it('out of reach with a lease half voided: its report waits to learn that it is too late', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    const lease = (await theatre.run.takeLease(south))!
    const late = await theatre.reportFor(south, lease)
    theatre.objects.fault = 'unavailable'
    await theatre.advance(30_000)
    await expect(theatre.run.report(south, lease.id, late)).rejects.toEqual(code('unavailable'))
    theatre.objects.fault = null
    await expect(theatre.run.report(south, lease.id, late)).rejects.toEqual(code('lease_closed'))
    expect(theatre.types().at(-1)).toBe('void')
  })

  it('out of reach while a run is cancelled: it ends by itself afterwards, and returns what it reserved', async () => {
    await theatre.begin({ stages: [stage] })
    theatre.objects.fault = 'unavailable'
    await expect(theatre.run.cancel()).rejects.toEqual(code('unavailable'))
    theatre.objects.fault = null
    // What comes in between is told that it ended, and must not be the only one to know.
    await expect(theatre.run.setPaused(true)).rejects.toEqual(code('run_ended'))
    await theatre.advance(5000)
    expect(theatre.announced.at(-1)).toBe('cancelled')
    expect(theatre.dataset('north').describe()?.reserved.charges).toBe(0)
  })

  it('full: create says so, and the same create succeeds when there is room', async () => {
    const spec = theatre.spec({ stages: [stage] })
    await theatre.restart()
    theatre.objects.fault = 'full'
    await expect(theatre.run.create(theatre.runId, spec)).rejects.toEqual(code('full'))
    theatre.objects.fault = null
    await theatre.run.create(theatre.runId, spec)
    expect(await state()).toBe('running')
  })

  it('with other bytes under a key of the log: the run fails and stops', async () => {
    await theatre.begin({ stages: [stage] })
    await theatre.play(north)
    const next = `runs/${theatre.runId}/log/00000004.jsonl`
    theatre.objects.objects.set(next, new TextEncoder().encode('{}\n'))
    await theatre.play(south)
    const facts = (await theatre.run.describe())!
    expect(facts.state).toBe('failed')
    expect(facts.reason).toContain('log_conflict')
    expect(await theatre.run.takeLease(north)).toBeNull()
    expect(theatre.announced.at(-1)).toBe('failed')
  })

  it('ahead of the database at start-up: the run refuses to go on', async () => {
    await theatre.begin({ stages: [stage] })
    theatre.objects.objects.set(`runs/${theatre.runId}/log/00000004.jsonl`, new Uint8Array([1]))
    await theatre.restart()
    await theatre.run.resume()
    expect((await theatre.run.describe())?.reason).toContain('ledger_behind_log')
    expect(await theatre.run.takeLease(north)).toBeNull()
  })

  it('whose signed checkpoint counts records that the database forgot: the run refuses to go on', async () => {
    await theatre.begin({ stages: [stage] })
    await theatre.play(north)
    await theatre.play(south)
    const { head } = (await theatre.run.describe())!
    const note = `runs/${theatre.runId}/checkpoint`
    const key = await openLogKey('rehearsal', new Uint8Array(32))
    const put = async (size: number, by = key) => {
      const signer = { name: `rehearsal/${theatre.runId}`, publicKey: by.publicKey }
      const text = await signCheckpoint({ origin: signer.name, size, root: leafHash('another') }, signer, by.sign)
      theatre.objects.objects.set(note, new TextEncoder().encode(text))
      await theatre.restart()
      await theatre.run.resume()
      return (await theatre.run.describe())!.reason
    }
    // One that this coordinator did not sign says nothing, and is replaced.
    expect(await put(head.size + 4, await openLogKey('rehearsal', new Uint8Array(32).fill(1)))).toBeNull()
    theatre.now += 2000
    await theatre.play(north)
    expect(new TextDecoder().decode(theatre.objects.objects.get(note))).toContain(`\n${head.size}\n`)
    // The segments that were ahead are gone too: the checkpoint alone remembers.
    expect(await put(head.size + 4)).toContain('ledger_behind_log')
    expect(await theatre.run.takeLease(north)).toBeNull()
  })

  it('whose signed checkpoint has another tree of the same size: the run refuses to go on', async () => {
    await theatre.begin({ stages: [stage] })
    const { head } = (await theatre.run.describe())!
    const key = await openLogKey('rehearsal', new Uint8Array(32))
    const signer = { name: `rehearsal/${theatre.runId}`, publicKey: key.publicKey }
    const at = { origin: signer.name, size: head.size, root: leafHash('another') }
    const text = await signCheckpoint(at, signer, key.sign)
    theatre.objects.objects.set(`runs/${theatre.runId}/checkpoint`, new TextEncoder().encode(text))
    await theatre.restart()
    await theatre.run.resume()
    expect((await theatre.run.describe())?.reason).toContain('log_conflict')
  })

  it('with a changed last segment at start-up: the run refuses to go on', async () => {
    await theatre.begin({ stages: [stage] })
    const key = `runs/${theatre.runId}/log/00000001.jsonl`
    const bytes = theatre.objects.objects.get(key)!
    bytes[10]! ^= 1
    await theatre.restart()
    await theatre.run.resume()
    expect((await theatre.run.describe())?.reason).toContain('log_conflict')
  })

  it('that lost the last segment gets it again', async () => {
    await theatre.begin({ stages: [stage] })
    const key = `runs/${theatre.runId}/log/00000001.jsonl`
    theatre.objects.objects.delete(key)
    await theatre.restart()
    await theatre.run.resume()
    expect(theatre.objects.objects.has(key)).toBe(true)
    expect(await state()).toBe('running')
  })
})

describe('the trained state', () => {
  const playRound = async () => {
    await theatre.play(north)
    await theatre.play(south)
  }

  it('is the same cold, warm and half-warm', async () => {
    await theatre.begin({ stages: [{ ...stage, rounds: 7 }] })
    for (let round = 0; round < 5; round++) await playRound()
    await theatre.restart()
    await playRound()
    const isCheckpoint = (key: string) => key.includes('/checkpoints/')
    for (const key of [...theatre.objects.objects.keys()].filter(isCheckpoint)) theatre.objects.objects.delete(key)
    await theatre.restart()
    await playRound()
    const facts = (await theatre.run.describe())!
    expect(facts.state).toBe('completed')
    expect(facts.stateHash).toBe(auditLog(theatre.log().records).stateHash)
    expect(theatre.objects.objects.has(facts.adapter!.key)).toBe(true)
  })

  it('that would leave the finite numbers ends the run as failed, at the last good state', async () => {
    const wild = { ...stage, rounds: 9, learningRate: 1e6, clip: 1e6, prox: 1e6 }
    await theatre.begin({ stages: [wild] })
    for (let round = 0; round < wild.rounds && (await state()) === 'running'; round++) await playRound()
    const closes = theatre.log().records.filter((record) => record.type === 'close')
    expect(closes.length).toBeGreaterThan(0)
    const last = closes.at(-1)!.stateHash
    expect(theatre.log().records.at(-1)).toMatchObject({ type: 'end', outcome: 'failed', stateHash: last })
    expect(theatre.faults).toEqual([])
    expect(theatre.alarmAt).toBeNull()
    await theatre.restart()
    await theatre.run.resume()
    const facts = (await theatre.run.describe())!
    expect(facts).toMatchObject({ state: 'failed', stateHash: auditLog(theatre.log().records).stateHash })
    expect(facts.reason).toContain('state_not_finite')
    expect(await theatre.run.takeLease(north)).toBeNull()
  })

  it('is not taken from a checkpoint whose bytes changed', async () => {
    await theatre.begin({ stages: [stage] })
    for (let round = 0; round < 2; round++) await playRound()
    const key = [...theatre.objects.objects.keys()].find((name) => name.includes('/checkpoints/'))!
    theatre.objects.objects.get(key)![12]! ^= 1
    await theatre.restart()
    for (let round = 0; round < 2; round++) await playRound()
    expect((await theatre.run.describe())?.stateHash).toBe(auditLog(theatre.log().records).stateHash)
  })
})

describe('a dataset that its owner freezes', () => {
  const policy = { frozen: true, maxEpsilon: null, minNoiseMultiplier: null, minDatasets: null, models: null }
  const freeze = (frozen: boolean) => theatre.dataset('south').setPolicy({ ...policy, frozen })
  const facts = async () => (await theatre.run.describe())!

  it('pauses the run at its next round, which goes on when both are let go', async () => {
    await theatre.begin({ stages: [stage] })
    await freeze(true)
    await theatre.play(north)
    await theatre.play(south)
    expect(theatre.types().slice(-2)).toEqual(['close', 'pause'])
    expect(await facts()).toMatchObject({ state: 'paused', reason: 'dataset south is frozen by its owner' })
    expect(theatre.dataset('north').describe()?.spent.charges).toBe(1)
    await theatre.run.setPaused(false)
    expect((await facts()).state).toBe('paused')
    await freeze(false)
    await theatre.run.setPaused(false)
    expect(await facts()).toMatchObject({ state: 'running', reason: null, round: 1 })
    verifyRun(theatre.log().records)
  })

  it('begins no run', async () => {
    await freeze(true)
    await theatre.begin({ stages: [stage] })
    expect(theatre.types()).toEqual(['spec', 'pause'])
    expect((await facts()).state).toBe('paused')
    await freeze(false)
    await theatre.run.setPaused(false)
    expect(theatre.types().slice(2)).toEqual(['resume', 'open', 'charge', 'charge'])
  })

  it('gets no second lease for one that was lost, until it is let go', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    await theatre.run.takeLease(south)
    await theatre.advance(30_000)
    await freeze(true)
    expect(await theatre.run.takeLease(south)).toBeNull()
    expect((await facts()).state).toBe('running')
    await freeze(false)
    expect(await theatre.run.takeLease(south)).toMatchObject({ round: 0, attempt: 1 })
  })

  it('ends a run that its owner does not allow, and says by which limit', async () => {
    await theatre.dataset('south').setPolicy({ ...policy, frozen: false, minDatasets: 3 })
    await theatre.begin({ stages: [stage] })
    expect(await facts()).toMatchObject({ state: 'budget_exhausted', reason: expect.stringContaining('minDatasets') })
  })
})
