import { DurableObject, env } from 'cloudflare:workers'
import { toBase64 } from '../../shared/ledger/index.ts'
import { identifyBy, type Limiter, type LogLine, makeApp, type Ringing } from '../api/index.ts'
import { DatasetActor } from '../dataset/index.ts'
import { Directory } from '../directory/index.ts'
import { type LogKey, openLogKey } from '../ledger/index.ts'
import { openS3Store } from '../objects/s3.ts'
import type { ObjectStore } from '../objects/store.ts'
import { Bell, faultCode, Run, runOfTopic } from '../run/index.ts'
import type { ActorStorage } from '../storage/index.ts'
import { Webhooks } from '../webhooks/index.ts'
import { adminSetting, checkpointSetting, logSetting, oidcSetting, SettingsError, s3Settings } from './environment.ts'
import { type Reply, remote, replyOf } from './remote.ts'

/** What `wrangler.toml` binds, and what `wrangler secret put` sets. */
interface Bindings {
  readonly RUNS: DurableObjectNamespace<RunObject>
  readonly DATASETS: DurableObjectNamespace<DatasetObject>
  readonly DIRECTORY: DurableObjectNamespace<DirectoryObject>
  readonly BELLS: DurableObjectNamespace<BellObject>
  readonly WEBHOOKS: DurableObjectNamespace<WebhooksObject>
  /** Not on every platform that serves Workers. */
  readonly RATE_LIMIT?: RateLimit
  readonly [setting: string]: unknown
}
declare global {
  namespace Cloudflare {
    interface Env extends Bindings {}
  }
}

const now = () => Date.now()
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))
const log = (line: LogLine) => console.log(JSON.stringify({ time: new Date(now()).toISOString(), ...line }))

/** Settings that are text. */
const settings = () =>
  Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])))

/**
 * The bucket. A client for each call: what one request of the Worker began, another may not wait for.
 * @throws SettingsError where no bucket is named
 */
function openObjects(): ObjectStore {
  const s3 = s3Settings(settings())
  if (!s3) throw new SettingsError('SOTTO_S3_BUCKET is not set: on Workers objects lie in a bucket')
  const store = () => openS3Store(s3)
  return {
    create: (key, bytes) => store().create(key, bytes),
    replace: (key, bytes) => store().replace(key, bytes),
    fetch: (key) => store().fetch(key),
    size: (key) => store().size(key),
    signedGet: (key, seconds) => store().signedGet(key, seconds),
    signedPut: (key, seconds) => store().signedPut(key, seconds),
  }
}

/** What logs are signed with. @throws SettingsError where there is no key */
async function logKey(): Promise<LogKey> {
  const { name, seed } = logSetting(settings())
  if (!seed) throw new SettingsError('SOTTO_LOG_KEY is not set: openssl rand -base64 32')
  return await openLogKey(name, seed)
}

/** drizzle's driver was written for a Durable Object's storage; its shape here is the part that it uses. */
const storageOf = (state: DurableObjectState) => state.storage as unknown as ActorStorage

const named = <T extends Rpc.DurableObjectBranded & CallableObject>(namespace: DurableObjectNamespace<T>, id: string) =>
  namespace.get(namespace.idFromName(id)) as unknown as CallableObject

export const datasetOf = (id: string) =>
  remote<DatasetActor>((method, args) => named(env.DATASETS, id).call(method, args))
export const runOf = (id: string) => remote<Run>((method, args) => named(env.RUNS, id).call(method, args))
const directoryOf = () => remote<Directory>((method, args) => named(env.DIRECTORY, 'directory').call(method, args))
const webhooksOf = () => remote<Webhooks>((method, args) => named(env.WEBHOOKS, 'webhooks').call(method, args))
const bellOf = (topic: string) => remote<Bell>((method, args) => named(env.BELLS, topic).call(method, args))

interface CallableObject {
  call(method: string, args: unknown[]): Promise<Reply>
}

/** An actor in a Durable Object: opened before the first call, each call a reply. */
abstract class ActorObject<T extends object> extends DurableObject implements CallableObject {
  protected actor!: T

  constructor(state: DurableObjectState, bindings: Cloudflare.Env) {
    super(state, bindings)
    void state.blockConcurrencyWhile(async () => {
      this.actor = await this.open()
    })
  }

  protected abstract open(): Promise<T>

  async call(method: string, args: unknown[]): Promise<Reply> {
    return await replyOf(this.actor, method, args)
  }
}

/** Alarm of a run that has none of its own while something is under way: it goes on even where nobody asks again. */
const WATCHDOG_MS = 30_000
/** Calls that begin no work. */
const READING: ReadonlySet<string> = new Set<keyof Run>([
  'describe',
  'records',
  'updates',
  'checkpoints',
  'stages',
  'rounds',
  'curves',
  'round',
  'reports',
  'heldLease',
  'idle',
])

export class RunObject extends ActorObject<Run> {
  protected override async open(): Promise<Run> {
    const { storage } = this.ctx
    const checkpointEvery = checkpointSetting(settings())
    return await Run.open({
      storage: storageOf(this.ctx),
      objects: openObjects(),
      logKey: await logKey(),
      datasets: {
        charge: async (id, charge, options) => await datasetOf(id).charge(charge, options),
        reserve: async (id, reservation) => await datasetOf(id).reserve(reservation),
        release: async (id, run, charged) => await datasetOf(id).release(run, charged),
      },
      now,
      setAlarm: (at) => void (at === null ? storage.deleteAlarm() : storage.setAlarm(at)),
      ring: (topic) => {
        const told: unknown[] = [bellOf(topic).ring(topic)]
        const run = runOfTopic(topic)
        if (run !== null) told.push(webhooksOf().notice(run))
        // Nobody is lost who is not told: those who wait ask again, and webhooks look at the logs by themselves.
        this.ctx.waitUntil(Promise.allSettled(told))
      },
      announce: async (run, state) => await directoryOf().noteRun(run, state),
      onFault: (run, code) => log({ event: 'fault', run, code }),
      ...(checkpointEvery === undefined ? {} : { checkpointEvery }),
    })
  }

  override async call(method: string, args: unknown[]): Promise<Reply> {
    const reads = READING.has(method)
    if (!reads && (await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(now() + WATCHDOG_MS)
    const reply = await super.call(method, args)
    if (!reads) this.ctx.waitUntil(this.actor.idle())
    return reply
  }

  override async alarm(): Promise<void> {
    this.actor.alarm()
    await this.actor.idle()
  }
}

export class DatasetObject extends ActorObject<DatasetActor> {
  protected override async open(): Promise<DatasetActor> {
    return await DatasetActor.open({
      storage: storageOf(this.ctx),
      objects: openObjects(),
      logKey: await logKey(),
      now,
      onFault: (error) => log({ event: 'fault', code: faultCode(error) }),
    })
  }

  override async call(method: string, args: unknown[]): Promise<Reply> {
    const reply = await super.call(method, args)
    // Charges go into the bucket a little later than they are answered.
    this.ctx.waitUntil(this.actor.idle())
    return reply
  }
}

export class DirectoryObject extends ActorObject<Directory> {
  protected override async open(): Promise<Directory> {
    const directory = await Directory.open({ storage: storageOf(this.ctx), random, now })
    const chosen = adminSetting(settings())
    if (chosen === undefined) throw new SettingsError('SOTTO_ADMIN_TOKEN is not set: nobody could ask for anything')
    directory.admitAdmin(chosen)
    return directory
  }
}

export class WebhooksObject extends ActorObject<Webhooks> {
  protected override open(): Promise<Webhooks> {
    const { storage } = this.ctx
    return Webhooks.open({
      storage: storageOf(this.ctx),
      now,
      random,
      fetch: (url, init) => fetch(url, init),
      setAlarm: (at) => void (at === null ? storage.deleteAlarm() : storage.setAlarm(at)),
      records: async (run, from) => await runOf(run).records(from),
      runningRuns: async () => await directoryOf().runningRuns(),
      onFault: (code) => log({ event: 'fault', code }),
    })
  }

  override async call(method: string, args: unknown[]): Promise<Reply> {
    const reply = await super.call(method, args)
    this.ctx.waitUntil(this.actor.idle())
    return reply
  }

  override async alarm(): Promise<void> {
    this.actor.alarm()
    await this.actor.idle()
  }
}

/** Those who wait for one topic. It keeps nothing: whoever waits asks again after a while. */
export class BellObject extends ActorObject<Bell> {
  protected override async open(): Promise<Bell> {
    return new Bell(crypto.getRandomValues(new Uint32Array(1))[0]!)
  }
}

const bell: Ringing = {
  closed: false,
  mark: (topic) => bellOf(topic).mark(topic),
  wait: async (topic, { mark, ms, signal }) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = () => resolve()
    signal?.addEventListener('abort', stop, { once: true })
    await Promise.race([bellOf(topic).wait(topic, { mark, ms }), promise])
    signal?.removeEventListener('abort', stop)
  },
}

/** Seconds of the period that `wrangler.toml` gives the limit. */
const PERIOD_SECONDS = 10
const limiter: Limiter | null = env.RATE_LIMIT
  ? {
      take: async (caller) => {
        const { success } = await env.RATE_LIMIT!.limit({ key: caller })
        return success ? null : PERIOD_SECONDS
      },
    }
  : null

let app: ReturnType<typeof makeApp> | undefined

/** Made at the first request of the isolate, once its settings are whole. @throws SettingsError */
async function openApp(): Promise<ReturnType<typeof makeApp>> {
  const { name, publicKey } = await logKey()
  const rules = oidcSetting(settings())
  return makeApp({
    directory: directoryOf(),
    datasets: { get: async (id) => datasetOf(id) },
    runs: { get: async (id) => runOf(id) },
    webhooks: webhooksOf(),
    identify: rules ? identifyBy(rules, { now }) : null,
    limits: {
      callers: limiter,
      strangers: limiter,
      addressOf: (c) => c.req.header('CF-Connecting-IP') ?? null,
    },
    objects: openObjects(),
    logIdentity: { name, publicKey: toBase64(publicKey) },
    bell,
    now,
    random,
    log,
  })
}

export default {
  async fetch(request: Request): Promise<Response> {
    try {
      app ??= await openApp()
      return await app.fetch(request)
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error
      // The operator sees why in the log; the caller learns that it is not the caller's fault.
      console.error(error.message)
      return Response.json({ title: 'The coordinator is not set up; its log says what is missing.' }, { status: 503 })
    }
  },
}
