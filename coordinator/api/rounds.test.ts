import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lossDeviation } from '../../shared/ledger/index.ts'
import type { Client } from '../../test/rehearsal/client.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'

const lengthOf = (round: number) => (round < 3 ? 5 : 3)
const SITES = ['north', 'south']

describe.each(PLACES)('the rounds of a run on %s', (on) => {
  const hosts = new Hosts()
  let stage: StagedHost
  let admin: Client
  let model: string
  let workers: FakeWorker[]
  beforeAll(async () => {
    stage = await hosts.start({ on })
    admin = stage.admin
    const datasets = SITES.map((id) => ({ id, epsilon: 100 }))
    model = await setStage(admin, { datasets, files: SMALL_FILES, manifest: manifestOf(SMALL_FILES) })
    workers = await Promise.all(SITES.map((site) => FakeWorker.enrol(admin, site)))
  })
  afterAll(() => hosts.clear())

  const create = async (change: object = {}) =>
    (await admin.post('/v1/runs', { ...smallRequest({ model, datasets: SITES }), ...change })).body.id as string

  it('are told as the log has them: stages, rounds, leases and reports', async () => {
    const before = Date.now()
    const run = await create()
    await Promise.all(workers.map((worker) => worker.work(run, lengthOf)))
    const facts = (await admin.get(`/v1/runs/${run}`)).body
    expect(facts.state).toBe('completed')

    const stages = (await admin.get(`/v1/runs/${run}/stages`)).body.items
    expect(stages.map(({ first, closed, state }: never) => ({ first, closed, state }))).toEqual([
      { first: 0, closed: 3, state: 'closed' },
      { first: 3, closed: 2, state: 'closed' },
    ])
    expect(stages.map(({ settings }: { settings: object }) => settings)).toEqual(facts.spec.stages)

    const rounds = (await admin.get(`/v1/runs/${run}/rounds`)).body
    expect(rounds.next).toBeNull()
    expect(rounds.items.map(({ round }: { round: number }) => round)).toEqual([4, 3, 2, 1, 0])
    expect(rounds.items[0].stateHash).toBe(facts.stateHash)
    for (const { state, stage: index, round, reports, lost, opened, closed } of rounds.items) {
      expect({ state, index, reports, lost }).toEqual({
        state: 'closed',
        index: round < 3 ? 0 : 1,
        reports: 2,
        lost: 0,
      })
      expect(opened).toBeGreaterThanOrEqual(before)
      expect(closed).toBeGreaterThanOrEqual(opened)
    }
    const first = (await admin.get(`/v1/runs/${run}/rounds?limit=3`)).body
    const second = (await admin.get(`/v1/runs/${run}/rounds?limit=3&cursor=${first.next}`)).body
    expect([...first.items, ...second.items]).toEqual(rounds.items)

    const { leases, ...round } = (await admin.get(`/v1/runs/${run}/rounds/2`)).body
    expect(round).toEqual(rounds.items[2])
    expect(leases).toEqual(
      workers.map(({ id, dataset }, index) => {
        return { lease: `${run}-r2-d${index}-a0`, dataset, attempt: 0, state: 'reported', worker: id }
      }),
    )
    expect((await admin.get(`/v1/runs/${run}/rounds/5`)).body.code).toBe('not_found')

    const reports = (await admin.get(`/v1/runs/${run}/reports`)).body.items
    expect(reports).toHaveLength(10)
    expect(new Set(reports.map(({ lease }: { lease: string }) => lease)).size).toBe(10)
    for (const { taken, received, bytes } of reports) {
      expect(taken).toBeGreaterThanOrEqual(before)
      expect(received).toBeGreaterThanOrEqual(taken)
      expect(bytes).toBeGreaterThan(100)
    }
    expect(JSON.stringify(reports)).not.toMatch(/integers|signature/)
    const some = (await admin.get(`/v1/runs/${run}/reports?dataset=south&round=1`)).body.items
    expect(some).toEqual([expect.objectContaining({ lease: `${run}-r1-d1-a0`, dataset: 'south', round: 1 })])
    const page = (await admin.get(`/v1/runs/${run}/reports?limit=7`)).body
    const rest = (await admin.get(`/v1/runs/${run}/reports?limit=7&cursor=${page.next}`)).body
    expect([...page.items, ...rest.items]).toEqual(reports)

    const spent = facts.spent.find(({ dataset }: { dataset: string }) => dataset === 'north')
    const own = reports.filter(({ dataset }: { dataset: string }) => dataset === 'north')
    const seconds = own.reduce((sum: number, { taken, received }: never) => sum + (received - taken) / 1000, 0)
    expect(spent.seconds).toBeCloseTo(seconds, 9)
  })

  it('are told in columns to those who draw them, page after page', async () => {
    const run = await create()
    await Promise.all(workers.map((worker) => worker.work(run, lengthOf)))
    const rounds = (await admin.get(`/v1/runs/${run}/rounds`)).body.items.reverse()
    const curves = (await admin.get(`/v1/runs/${run}/curves`)).body
    expect([curves.first, curves.next]).toEqual([0, null])
    for (const column of ['closed', 'reports', 'lost', 'privateLoss', 'clippedShare', 'signalToNoise'])
      expect(curves[column]).toEqual(rounds.map((round: Record<string, unknown>) => round[column]))
    expect(curves.recharged).toEqual([])
    // The second stage tells no loss.
    expect(curves.privateLoss.map((loss: unknown) => loss === null)).toEqual([false, false, false, true, true])
    const { spec } = (await admin.get(`/v1/runs/${run}`)).body
    const units = spec.datasets.map((dataset: { units: number }) => dataset.units)
    const deviation = lossDeviation(spec, spec.stages[0], units)
    expect(curves.lossDeviation).toEqual([deviation, deviation, deviation, null, null])
    const pages = []
    for (let after: number | null = 0; after !== null; after = pages.at(-1).next)
      pages.push((await admin.get(`/v1/runs/${run}/curves?after=${after}&limit=2`)).body)
    expect(pages.map(({ first }) => first)).toEqual([0, 2, 4])
    expect(pages.flatMap(({ closed }) => closed)).toEqual(curves.closed)
    expect((await admin.get(`/v1/runs/${run}/curves?after=5`)).body.closed).toEqual([])
  })

  it('that were lost or left open say so', async () => {
    const run = await create({ leaseSeconds: 1, deadlineSeconds: 60 })
    const [north, south] = workers as [FakeWorker, FakeWorker]
    const lease = (await north.lease(1))!
    expect(lease.attempt).toBe(0)
    // Nobody answers for it: another is charged when it is asked for.
    let again = lease
    while (again.attempt === 0) {
      await sleep(100)
      again = (await north.lease(2)) ?? again
    }
    await north.send(again, Array(5).fill(1))
    const open = (await admin.get(`/v1/runs/${run}/rounds/0`)).body
    expect(open).toMatchObject({ state: 'open', closed: null, lost: 1, reports: 0, stateHash: null })
    expect(open.leases.map(({ dataset, attempt, state }: never) => [dataset, attempt, state])).toEqual([
      ['north', 0, 'lost'],
      ['south', 0, 'waiting'],
      ['north', 1, 'waiting'],
    ])
    expect((await south.lease(1))?.round).toBe(0)
    await admin.post(`/v1/runs/${run}/cancel`)
    expect((await admin.get(`/v1/runs/${run}/rounds/0`)).body.state).toBe('abandoned')
    const stages = (await admin.get(`/v1/runs/${run}/stages`)).body.items
    expect(stages.map(({ state }: { state: string }) => state)).toEqual(['abandoned', 'abandoned'])
    const curves = (await admin.get(`/v1/runs/${run}/curves`)).body
    expect([curves.closed, curves.recharged]).toEqual([[], [{ round: 0, dataset: 'north' }]])
  })
})

describe('a trace', () => {
  const hosts = new Hosts()
  afterAll(() => hosts.clear())

  it('goes on with the request, and is in its log line', async () => {
    const { admin, lines } = await hosts.start()
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
    const traced = await admin.call('GET', '/healthz', { headers: { traceparent: `00-${trace}-00f067aa0ba902b7-01` } })
    const line = JSON.parse(lines.at(-1)!)
    expect(line.trace).toBe(trace)
    expect(traced.headers.get('traceresponse')).toBe(`00-${trace}-${line.request}-01`)
    for (const traceparent of [
      '',
      'SENTINEL',
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `ff-${trace}-00f067aa0ba902b7-01`,
    ]) {
      await admin.call('GET', '/healthz', { headers: { traceparent } })
      const own = JSON.parse(lines.at(-1)!).trace
      expect(own).toMatch(/^[0-9a-f]{32}$/)
      expect(own).not.toBe(trace)
    }
    expect(lines.join()).not.toContain('SENTINEL')
  })
})
