import { createHmac } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import type { RunRecord } from '../../shared/ledger/index.ts'
import { smallSpec } from '../../test/rehearsal/request.ts'
import { NodeStorage } from '../hosts/node-storage.ts'
import { pauseAfter } from './send.ts'
import { Webhooks } from './webhooks.ts'

const DAY_MS = 86_400_000

interface Sent {
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
}

/** Webhooks over SQLite in memory, their clock, their network and the logs of runs in the test's hands. */
class Post {
  now = 1_000_000
  /** What an address answers: a status, or the fault of the network. */
  answer: number | Error | ((body: string) => number) = 204
  readonly sent: Sent[] = []
  readonly logs = new Map<string, RunRecord[]>()
  readonly faults: string[] = []
  /** Runs whose log is at odds with the bucket: it has no end record. */
  readonly failed = new Set<string>()
  alarm: number | null = null
  readonly #storage = new NodeStorage(':memory:')
  webhooks!: Webhooks

  async open(): Promise<this> {
    this.webhooks = await Webhooks.open({
      storage: this.#storage,
      now: () => this.now,
      random: (length) => crypto.getRandomValues(new Uint8Array(length)),
      fetch: async (url, init) => {
        this.sent.push({ url, headers: init.headers as Record<string, string>, body: String(init.body) })
        if (this.answer instanceof Error) throw this.answer
        const status = typeof this.answer === 'number' ? this.answer : this.answer(String(init.body))
        return new Response(null, { status })
      },
      setAlarm: (at) => {
        this.alarm = at
      },
      records: async (run, from) => {
        const log = this.logs.get(run) ?? []
        return {
          records: log.filter(({ seq }) => seq >= from),
          ended: this.failed.has(run) || log.at(-1)?.type === 'end',
        }
      },
      runningRuns: async () => [...this.logs].filter(([, log]) => log.at(-1)?.type !== 'end').map(([run]) => run),
      onFault: (code) => this.faults.push(code),
    })
    return this
  }

  /** Adds records to the log of a run. */
  write(run: string, ...entries: object[]): void {
    const log = this.logs.get(run) ?? []
    for (const entry of entries)
      log.push({ seq: log.length, time: this.now, prev: '0'.repeat(64), ...entry } as unknown as RunRecord)
    this.logs.set(run, log)
  }

  begin(run: string): void {
    this.write(run, { type: 'spec', run, spec: smallSpec(['north']) })
  }

  /** Lets time pass up to what was asked to be woken for. */
  async wake(): Promise<void> {
    this.now = Math.max(this.now, this.alarm ?? this.now)
    this.webhooks.alarm()
    await this.webhooks.idle()
  }

  types(): string[] {
    return this.sent.map(({ body }) => JSON.parse(body).type)
  }

  log(id: string) {
    return this.webhooks.deliveries(id, { cursor: undefined, limit: 50 })!.items
  }
}

const open = () => new Post().open()
const END = { type: 'end', outcome: 'completed' }
const ALL = ['run.created', 'run.paused', 'run.ended'] as const
const create = (post: Post, events: readonly (typeof ALL)[number][] = ALL) =>
  post.webhooks.create({ url: 'https://example.org/hook', events: [...events] })

describe('webhooks', () => {
  let post: Post
  afterEach(() => {
    expect(post.faults).toEqual([])
  })

  it('send the events that are asked for, signed as Standard Webhooks says', async () => {
    post = await open()
    const { secret } = create(post, ['run.created', 'run.ended'])
    post.begin('run-a')
    post.write('run-a', { type: 'pause', frozen: null })
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    post.write('run-a', END)
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    expect(post.types()).toEqual(['run.created', 'run.ended'])
    for (const { headers, body } of post.sent) {
      const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
      const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
      expect(key).toHaveLength(32)
      expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`)
      expect(Number(headers['webhook-timestamp'])).toBe(Math.floor(post.now / 1000))
    }
    expect(JSON.parse(post.sent[1]!.body)).toEqual({
      type: 'run.ended',
      timestamp: new Date(post.now).toISOString(),
      data: { run: 'run-a', seq: 2, state: 'completed' },
    })
  })

  it('try again after longer and longer, then give up and are disabled until a replay', async () => {
    post = await open()
    const { id } = create(post)
    post.answer = 500
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    const started = post.now
    const times = [started]
    while (!post.webhooks.get(id)!.disabled && times.length < 100_000) {
      const before = post.sent.length
      await post.wake()
      if (post.sent.length > before) times.push(post.now)
    }
    const pauses = times.slice(1).map((time, i) => time - times[i]!)
    expect(pauses).toHaveLength(9)
    for (const [i, pause] of pauses.entries()) expect(pause).toBeGreaterThan(i === 0 ? 4999 : pauses[i - 1]!)
    expect(times.at(-1)! - started).toBeGreaterThan(3 * DAY_MS)
    const [delivery] = post.log(id)
    expect(delivery).toMatchObject({ state: 'failed', next: null, type: 'run.created', run: 'run-a' })
    expect(delivery!.attempts.map(({ status, outcome }) => [status, outcome])).toEqual(Array(10).fill([500, 'refused']))

    // What happens meanwhile is not lost.
    post.write('run-a', END)
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    post.answer = 200
    const before = post.sent.length
    expect(post.webhooks.replaySince(id, 0)).toBe(2)
    await post.webhooks.idle()
    expect(post.types().slice(before).sort()).toEqual(['run.created', 'run.ended'])
    expect(post.log(id).map(({ state }) => state)).toEqual(['delivered', 'delivered'])
    expect(post.webhooks.get(id)!.disabled).toBe(false)
    expect(post.webhooks.replaySince(id, 0)).toBe(0)
  })

  it('are disabled at once by 410', async () => {
    post = await open()
    const { id } = create(post)
    post.answer = 410
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    expect(post.webhooks.get(id)!.disabled).toBe(true)
    expect(post.log(id)[0]).toMatchObject({ state: 'failed', attempts: [{ status: 410 }] })
  })

  it('are not disabled by one message that is never taken where others are', async () => {
    post = await open()
    const { id } = create(post)
    post.answer = (body) => (body.includes('run-a') ? 500 : 200)
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    post.begin('run-b')
    post.webhooks.notice('run-b')
    const isFailed = () => post.log(id).some(({ state }) => state === 'failed')
    for (let i = 0; i < 10_000 && !isFailed(); i++) await post.wake()
    expect(post.log(id).map(({ run, state }) => [run, state])).toEqual([
      ['run-b', 'delivered'],
      ['run-a', 'failed'],
    ])
    expect(post.webhooks.get(id)!.disabled).toBe(false)
  })

  it('say of an address that is out of reach no more than that', async () => {
    post = await open()
    const { id } = create(post)
    post.answer = new Error('SENTINEL')
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    expect(post.log(id)[0]).toMatchObject({ state: 'pending', attempts: [{ status: null, outcome: 'unreachable' }] })
    expect(JSON.stringify(post.log(id))).not.toContain('SENTINEL')
  })

  it('find by themselves what no notice told, and what was to be sent before a crash', async () => {
    post = await open()
    const { id } = create(post)
    post.answer = 503
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    // The process dies; its memory is gone, and its notices with it.
    await post.webhooks.close()
    post.write('run-a', { type: 'pause', frozen: null }, END)
    post.begin('run-b')
    post.answer = 200
    await post.open()
    for (let i = 0; i < 3; i++) await post.wake()
    const delivered = post.log(id).map(({ run, type, state }) => `${run} ${type} ${state}`)
    expect(delivered.sort()).toEqual([
      'run-a run.created delivered',
      'run-a run.ended delivered',
      'run-a run.paused delivered',
      'run-b run.created delivered',
    ])
    const ids = post.log(id).map((each) => each.id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('send nothing of the time before them, each event once to each', async () => {
    post = await open()
    post.begin('run-a')
    post.webhooks.notice('run-a')
    post.now += 1000
    const [first, second] = [create(post), create(post, ['run.ended'])]
    post.write('run-a', END)
    for (let i = 0; i < 3; i++) post.webhooks.notice('run-a')
    await post.webhooks.idle()
    expect(post.types()).toEqual(['run.ended', 'run.ended'])
    expect(post.sent[0]!.headers['webhook-id']).toBe(post.sent[1]!.headers['webhook-id'])
    for (const { id } of [first, second]) expect(post.log(id)).toHaveLength(1)
  })

  it('sign with both secrets for a day after one was replaced', async () => {
    post = await open()
    const { id, secret } = create(post)
    const rotated = post.webhooks.rotate(id)!
    expect(rotated.secret).not.toBe(secret)
    const signatures = async (run: string) => {
      post.begin(run)
      post.webhooks.notice(run)
      await post.webhooks.idle()
      return post.sent.at(-1)!.headers['webhook-signature']!.split(' ')
    }
    expect(await signatures('run-a')).toHaveLength(2)
    post.now += DAY_MS + 1
    expect(await signatures('run-b')).toHaveLength(1)
  })

  it('send one message again when asked, under the same id', async () => {
    post = await open()
    const { id } = create(post)
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    const [delivery] = post.log(id)
    expect(post.webhooks.replay(id, delivery!.id)).toBe(true)
    await post.webhooks.idle()
    expect(post.sent.map(({ headers }) => headers['webhook-id'])).toEqual([delivery!.id, delivery!.id])
    expect(post.webhooks.replay(id, 'msg-none')).toBe(false)
    expect(post.webhooks.replay('hook-none', delivery!.id)).toBe(false)
  })

  it('forget an address with what was to be sent to it, and messages of a month ago', async () => {
    post = await open()
    const [gone, kept] = [create(post), create(post)]
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    expect(post.webhooks.remove(gone.id)).toBe(true)
    expect(post.webhooks.remove(gone.id)).toBe(false)
    expect(post.webhooks.deliveries(gone.id, { cursor: undefined, limit: 1 })).toBeNull()
    expect(post.log(kept.id)).toHaveLength(1)
    post.now += 31 * DAY_MS
    await post.wake()
    expect(post.log(kept.id)).toHaveLength(0)
  })

  it('tell of a run whose log failed that it ended', async () => {
    post = await open()
    create(post, ['run.ended'])
    post.begin('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    post.failed.add('run-a')
    post.webhooks.notice('run-a')
    await post.webhooks.idle()
    expect(JSON.parse(post.sent[0]!.body)).toMatchObject({ type: 'run.ended', data: { state: 'failed' } })
  })
})

it('pauses grow by what is drawn at random, at most by a tenth', () => {
  const bytes = (value: number) => (length: number) => new Uint8Array(length).fill(value)
  expect(pauseAfter(1, bytes(0))).toBe(5000)
  expect(pauseAfter(1, bytes(255))).toBeLessThan(5500)
  expect(pauseAfter(9, bytes(0))).toBe(DAY_MS)
  expect(pauseAfter(10, bytes(0))).toBeNull()
})
