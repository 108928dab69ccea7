import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { type ServerType, serve } from '@hono/node-server'
import { Hono } from 'hono'
import { compress } from 'hono/compress'
import { toBase64 } from '../../shared/ledger/index.ts'
import { identifyBy, type LogLine, makeApp } from '../api/index.ts'
import { Directory, newToken } from '../directory/index.ts'
import { openLogKey } from '../ledger/index.ts'
import { FolderStore, loadSigningKey, type ObjectStore, openS3Store, serveFolder } from '../objects/index.ts'
import { Bell } from '../run/index.ts'
import { type ActorHost, openActors } from './actors.ts'
import { logSetting, SettingsError } from './environment.ts'
import { nodeLimits } from './limiter.ts'
import { FolderLockedError, lockFolder } from './lock.ts'
import { NodeStorage } from './node-storage.ts'
import { HELP, type HostOptions, readSettings } from './settings.ts'

export interface NodeHost {
  readonly url: string
  readonly adminToken: string
  close(): Promise<void>
}

/** Of one token in ten seconds, unless the operator says otherwise. */
const RATE_LIMIT = 1000

const random = (length: number) => new Uint8Array(randomBytes(length))
const now = () => Date.now()

/**
 * Starts a coordinator in this process over one folder. Every run that was running goes on.
 * @example const host = await startNodeHost({ dataDir: '.sotto', port: 0 })
 * @throws FolderLockedError where another coordinator works on the folder.
 */
export async function startNodeHost(options: HostOptions): Promise<NodeHost> {
  const folder = resolve(options.dataDir)
  mkdirSync(join(folder, 'db'), { recursive: true, mode: 0o700 })
  const unlock = lockFolder(join(folder, 'lock.sqlite'))
  try {
    return await startLocked(folder, options, unlock)
  } catch (error) {
    unlock()
    throw error
  }
}

async function startLocked(folder: string, options: HostOptions, unlock: () => void): Promise<NodeHost> {
  const log = (line: LogLine) => options.log?.(JSON.stringify({ time: new Date(now()).toISOString(), ...line }))
  const bell = new Bell()
  const address = { url: '' }
  const directoryFile = new NodeStorage(join(folder, 'db/directory.sqlite'))
  const directory = await Directory.open({ storage: directoryFile, random, now })
  const adminToken = admitAdmin(folder, directory, options.adminToken)
  const { objects, routes } = await openObjects(folder, options, () => options.publicUrl ?? address.url)
  const { name, seed } = options.logs ?? logSetting({})
  const logKey = await openLogKey(name, seed ?? (await loadSigningKey(join(folder, 'log.key'))))
  const logIdentity = { name, publicKey: toBase64(logKey.publicKey) }
  const actors = await openActors({
    folder: join(folder, 'db'),
    directory,
    objects,
    logKey,
    bell,
    now,
    random,
    log,
    storage: { synchronous: options.synchronous ?? 'normal' },
    checkpointEvery: options.checkpointEvery,
  })
  const { datasets, runs, webhooks } = actors
  const identify = options.oidc ? identifyBy(options.oidc, { now }) : null
  const limits = nodeLimits(options.rateLimit ?? RATE_LIMIT)
  const app = makeApp({
    directory,
    datasets,
    runs,
    webhooks,
    objects,
    logIdentity,
    identify,
    limits,
    bell,
    now,
    random,
    log,
  })
  app.route('/', routes)
  const server = await listen(lighter(app), options)
  address.url = urlOf(server, options.host)
  log({ event: 'start' })
  webhooks.alarm()
  const resumed = resumeRuns(directory, actors, log)

  let closing: Promise<void> | null = null
  async function shutDown(): Promise<void> {
    bell.close()
    await resumed
    await stop(server)
    await actors.close()
    directoryFile.close()
    unlock()
    log({ event: 'stop' })
  }
  function close(): Promise<void> {
    closing ??= shutDown()
    return closing
  }
  return { url: address.url, adminToken, close }
}

async function resumeRuns(directory: Directory, { runs }: ActorHost, log: (line: LogLine) => void): Promise<void> {
  const resume = async (id: string) => {
    // A run whose file does not open now is tried again at the next poll of a worker.
    await runs.get(id).then(
      (run) => run.resume(),
      () => log({ event: 'fault', run: id, code: 'open' }),
    )
  }
  await Promise.all(directory.runningRuns().map(resume))
}

/** The operator's token, or the one that the first start wrote beside the data. */
function admitAdmin(folder: string, directory: Directory, chosen: string | undefined): string {
  const path = join(folder, 'admin-token')
  if (chosen === undefined && !existsSync(path)) {
    // Under its name only when whole: half a token is none.
    writeFileSync(`${path}.new`, `${newToken(random)}\n`, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
  const token = chosen ?? readFileSync(path, 'utf8').trim()
  directory.admitAdmin(token)
  return token
}

async function openObjects(
  folder: string,
  options: HostOptions,
  baseUrl: () => string,
): Promise<{ objects: ObjectStore; routes: Hono }> {
  if (options.s3) return { objects: openS3Store(options.s3), routes: new Hono() }
  const signingKey = await loadSigningKey(join(folder, 'objects.key'))
  const objects = await FolderStore.open({ root: join(folder, 'objects'), signingKey, baseUrl, now })
  return { objects, routes: serveFolder(objects) }
}

/** Sends what pages load compressed, as Cloudflare does by itself. Answers of the API are not: they hold secrets beside what callers send. */
function lighter(app: Pick<Hono, 'fetch'>): Pick<Hono, 'fetch'> {
  const compressed = new Hono<{ Bindings: object }>()
    .use(compress())
    .all('/assets/*', (c) => app.fetch(c.req.raw, c.env))
  return {
    fetch: (request, env, context) =>
      new URL(request.url).pathname.startsWith('/assets/')
        ? compressed.fetch(request, env as object, context)
        : app.fetch(request, env, context),
  }
}

async function listen(app: Pick<Hono, 'fetch'>, { port = 8787, host = '127.0.0.1' }: HostOptions): Promise<ServerType> {
  const { promise, resolve, reject } = Promise.withResolvers<ServerType>()
  const server = serve({ fetch: app.fetch, port, hostname: host }, () => resolve(server))
  server.once('error', reject)
  return await promise
}

function urlOf(server: ServerType, host = '127.0.0.1'): string {
  const { port } = server.address() as AddressInfo
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`
}

/** Answers what is under way, then closes what is left open. */
async function stop(server: ServerType): Promise<void> {
  const GRACE_MS = 2000
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  if ('closeIdleConnections' in server) server.closeIdleConnections()
  const timer = setTimeout(() => 'closeAllConnections' in server && server.closeAllConnections(), GRACE_MS)
  await promise
  clearTimeout(timer)
}

async function main(): Promise<void> {
  const options = readSettings(process.argv.slice(2), process.env)
  if (options === null) {
    process.stdout.write(HELP)
    return
  }
  const host = await startNodeHost({ ...options, log: (line) => process.stdout.write(`${line}\n`) })
  const stopped = () => void host.close().then(() => process.exit(0))
  process.once('SIGINT', stopped)
  process.once('SIGTERM', stopped)
  process.stdout.write(`Listening at ${host.url}\n`)
  if (options.adminToken === undefined) {
    process.stdout.write(`The admin token is in ${join(resolve(options.dataDir), 'admin-token')}\n`)
  }
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    const known = error instanceof SettingsError || error instanceof FolderLockedError
    process.stderr.write(`${known ? error.message : String(error)}\n`)
    process.exit(1)
  })
}
