import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Run, RunEvent } from '../../shared/api/index.ts'
import { ROOT, Stage, waitUntil } from './harness.ts'
import { type Point, Receiver } from './otlp-receiver.ts'

interface Told {
  readonly name: string
  readonly value: number
  readonly time: number
  readonly round: number
  readonly dataset?: string
}

/** What events say, written down by hand: what a collector must have. */
const toldBy = (events: readonly RunEvent[]): Told[] =>
  events.flatMap((event) => {
    if (event.type !== 'round.closed') return []
    const at = { time: event.time, round: event.round }
    const own = [
      ['sotto.run.private_loss', event.privateLoss],
      ['sotto.run.clipped_share', event.clippedShare],
      ['sotto.run.signal_to_noise', event.signalToNoise],
    ] as const
    return [
      ...own.flatMap(([name, value]) => (value === null ? [] : [{ name, value, ...at }])),
      ...Object.entries(event.spent).map(([dataset, value]) => ({ name: 'sotto.run.epsilon', value, ...at, dataset })),
    ]
  })
const readOf = ({ name, value, nanoseconds, attributes }: Point): Told => {
  const { 'sotto.round': round, 'sotto.dataset.id': dataset, ...more } = attributes
  expect(more).toEqual({})
  expect(nanoseconds % 1_000_000n).toBe(0n)
  const time = Number(nanoseconds / 1_000_000n)
  return { name, value, time, round: Number(round), ...(dataset === undefined ? {} : { dataset: String(dataset) }) }
}
const roundOf = ({ attributes }: Point) => attributes['sotto.round']
const sorted = (all: readonly Told[]) => all.map((each) => JSON.stringify(Object.entries(each).sort())).toSorted()

describe('sotto run export --otlp, over a real coordinator and a receiver that reads OTLP by its own descriptors', () => {
  const stage = new Stage()
  const receiver = new Receiver()
  let url: string
  let run: Run

  const started = (args: string[], more: NodeJS.ProcessEnv = {}) => {
    const env = { ...process.env, SOTTO_COORDINATOR: stage.url, SOTTO_TOKEN: stage.adminToken, ...more }
    const child = spawn(process.execPath, [join(ROOT, 'cli/sotto.mjs'), 'run', 'export', ...args], { env })
    const text = { out: '', err: '' }
    child.stdout.on('data', (chunk) => {
      text.out += chunk
    })
    child.stderr.on('data', (chunk) => {
      text.err += chunk
    })
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
    return { child, text, ended }
  }
  const exported = async (args: string[], more: NodeJS.ProcessEnv = {}) => {
    const { text, ended } = started(args, more)
    const status = await ended
    return { status, ...text }
  }
  const eventsOf = async (id: string): Promise<RunEvent[]> => {
    const events: RunEvent[] = []
    for await (const event of stage.client.events(id)) events.push(event)
    return events
  }
  const submit = (rounds: number) =>
    stage.submit({ rounds, directions: 3, datasets: ['north'], budget: { epsilon: 4, delta: 1e-5 } })

  const steer = async (id: string, verb: 'pause' | 'resume' | 'cancel') => {
    const headers = { Authorization: `Bearer ${stage.adminToken}` }
    expect((await fetch(`${stage.url}/v1/runs/${id}/${verb}`, { method: 'POST', headers })).status).toBe(200)
  }
  /** Some rounds are there, and no more come. */
  const stopAfterRounds = async (id: string) => {
    await waitUntil('rounds', async () => (await stage.client.run(id)).round > 3)
    await steer(id, 'pause')
  }

  beforeAll(async () => {
    url = await receiver.listen()
    await stage.startCoordinator()
    const budget = { epsilon: 100, delta: 1e-5 }
    await stage.addSite('north', { budget })
    stage.startWorker('north')
    run = await stage.finish((await submit(4)).id)
  })
  beforeEach(() => receiver.forget())
  afterAll(async () => {
    receiver.close()
    await stage.close()
  })

  it('sends what the API says of a run that has ended, each number at its own time, and nothing else', async () => {
    const { status, out, err } = await exported([run.id, '--otlp', url, '--json'])
    expect({ status, err }).toEqual({ status: 0, err: '' })
    const told = toldBy(await eventsOf(run.id))
    expect(told.length).toBeGreaterThanOrEqual(12)
    expect(sorted(receiver.points.map(readOf))).toEqual(sorted(told))
    expect(JSON.parse(out)).toEqual({
      data: {
        otlp: { url: `${url}/v1/metrics`, points: told.length, metrics: [...new Set(told.map(({ name }) => name))] },
      },
    })
    for (const { unit, resource } of receiver.points) {
      expect(unit).toBe('1')
      expect(resource).toEqual({
        'service.name': 'sotto',
        'service.version': '0.1.0',
        'service.instance.id': run.id,
        'sotto.run.id': run.id,
        'sotto.run.job': 'training',
        'sotto.model.id': run.spec.model,
        'sotto.budget.epsilon': 4,
        'sotto.budget.delta': 1e-5,
      })
    }
    const spent = receiver.points.filter(({ name }) => name === 'sotto.run.epsilon').at(-1)!
    expect(spent.value).toBe(run.spent[0]!.epsilon)
    const [{ url: asked, headers }] = receiver.seen as [(typeof receiver.seen)[number]]
    expect([asked, headers['content-type']]).toEqual(['POST /v1/metrics', 'application/x-protobuf'])
    expect(JSON.stringify(headers)).not.toContain(stage.adminToken)
  })

  it('waits as Retry-After says, shows who it is by the usual variables, and writes for MLflow as well', async () => {
    receiver.answer = (requests) =>
      requests === 1 ? { status: 503, headers: { 'Retry-After': '1' } } : { status: 200 }
    const store = join(stage.folder, 'mlruns')
    const headers = { OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20let-me-in' }
    const began = performance.now()
    const told = await exported([run.id, '--otlp', `${url}/`, '--output', store], headers)
    expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
    expect(performance.now() - began).toBeGreaterThan(1000)
    expect(receiver.seen.map(({ headers: { authorization } }) => authorization)).toEqual(
      Array(2).fill('Bearer let-me-in'),
    )
    expect(told.out).toMatch(/points of run-\S+ were sent to \S+\n\d+ metrics of/)
    expect(existsSync(store)).toBe(true)
  })

  it.each([
    [
      'one that asks to be left alone',
      { status: 503, headers: { 'Retry-After': '3600' } },
      3,
      'unreachable',
      /try later/,
    ],
    ['one that knows nobody', { status: 401 }, 1, 'collector_refused', /401[\s\S]*OTEL_EXPORTER_OTLP_HEADERS/],
    ['one that is none', { status: 404 }, 1, 'collector_refused', /404[\s\S]*4318/],
    ['one that takes no such thing', { status: 400 }, 1, 'collector_refused', /400[\s\S]*log/],
    ['one that moved', { status: 301, headers: { Location: '/' } }, 1, 'collector_refused', /301/],
    ['one that takes a part', { status: 200, rejected: 3 }, 1, 'collector_refused', /not take 3 points: too old/],
  ])('tells of %s what to do', async (_, answer, code, name, words) => {
    receiver.answer = () => answer
    const { status, out, err } = await exported([run.id, '--otlp', url, '--json'])
    expect([status, err]).toEqual([code, expect.stringMatching(words)])
    expect(JSON.parse(out)).toEqual({ error: { code: name, message: expect.stringMatching(words) } })
    expect(receiver.seen).toHaveLength(1)
  })

  it('ends with 3 where nobody answers, and 2 where it was not asked for anything', async () => {
    const away = await exported([run.id, '--otlp', 'http://127.0.0.1:9', '--json'], {
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
    })
    expect([away.status, away.err]).toEqual([3, expect.stringMatching(/ECONNREFUSED[\s\S]*sends all of them/)])
    expect(JSON.parse(away.out)).toMatchObject({ error: { code: 'unreachable' } })
    for (const [args, said] of [
      [[], '--output FOLDER'],
      [['--otlp', 'collector:4318'], 'no address'],
      [['--otlp', 'nonsense'], 'no address'],
    ] as const)
      expect(await exported([run.id, ...args])).toMatchObject({ status: 2, err: expect.stringContaining(said) })
  })

  it('follows a run to its end past a collector that was away', async () => {
    receiver.answer = (requests) => ({ status: requests === 1 ? 503 : 200 })
    const { id } = await submit(200)
    expect(await exported([id, '--otlp', url])).toMatchObject({ status: 2, err: expect.stringContaining('--follow') })
    const { ended, text } = started([id, '--otlp', url, '--follow'], { OTEL_EXPORTER_OTLP_TIMEOUT: '500' })
    await stopAfterRounds(id)
    await waitUntil('points while the run goes on', () => receiver.points.length > 0)
    expect(text.err).toMatch(/points wait: the collector[\s\S]*points sent, up to round \d+\n/)
    await steer(id, 'resume')
    expect(await ended, text.err).toBe(0)
    expect(text.out).toContain(`points of ${id} were sent`)
    expect(sorted(receiver.points.map(readOf))).toEqual(sorted(toldBy(await eventsOf(id))))
  })

  it('sends what it has before an interrupt ends it, and everything when it is asked again', async () => {
    const { id } = await submit(200)
    await stopAfterRounds(id)
    const { child, ended, text } = started([id, '--otlp', url, '--follow', '--json'])
    await waitUntil('the first points', () => receiver.points.length > 0)
    const before = new Set(receiver.points.map(roundOf))
    await steer(id, 'resume')
    await waitUntil('more rounds', async () => (await stage.client.run(id)).round > before.size + 3)
    child.kill('SIGINT')
    expect(await ended).toBe(130)
    expect(JSON.parse(text.out)).toMatchObject({ error: { code: 'interrupted' } })
    // Those of the last two seconds were under way to nobody yet.
    const after = new Set(receiver.points.map(roundOf))
    expect(after.size).toBeGreaterThan(before.size)

    receiver.forget()
    const again = started([id, '--otlp', url, '--follow', '--json'])
    await steer(id, 'cancel')
    expect(await again.ended).toBe(5)
    expect(JSON.parse(again.text.out).data.otlp.points).toBe(receiver.points.length)
    expect(sorted(receiver.points.map(readOf))).toEqual(sorted(toldBy(await eventsOf(id))))
  })
})
