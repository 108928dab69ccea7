import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { accessSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { freePort } from '../../cli/dev/processes.ts'

const run = promisify(execFile)
const PROGRAMS = ['ceph', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin']
const READY_AFTER_MS = 60_000

/** Whether the programs of Ceph are here (Debian: ceph-mon, ceph-osd, radosgw, ceph-common). */
export function hasCeph(): boolean {
  const folders = (process.env.PATH ?? '').split(':')
  const isHere = (program: string) => folders.some((folder) => isProgram(join(folder, program)))
  return PROGRAMS.every(isHere)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** A bucket in Ceph. */
export interface CephBucket {
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  close(): Promise<void>
}

/** One monitor, one storage daemon in memory and the gateway, on loopback. */
export async function startCeph(): Promise<CephBucket> {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-ceph-'))
  const port = await freePort()
  const cluster = { id: randomUUID(), mon: await freePort(), osd: randomUUID() }
  const conf = join(folder, 'ceph.conf')
  writeFileSync(conf, configOf({ folder, port, ...cluster }))
  mkdirSync(join(folder, 'osd'))
  const ceph = (program: string, ...args: string[]) => run(program, ['-c', conf, ...args], { timeout: READY_AFTER_MS })
  const daemons: ChildProcess[] = []
  const log = openSync(join(folder, 'output'), 'a')
  const start = (program: string, ...args: string[]) => {
    daemons.push(spawn(program, ['-c', conf, ...args, '-f'], { stdio: ['ignore', log, log] }))
  }
  const close = async () => {
    const exits = daemons.map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of daemons) child.kill('SIGKILL')
    await Promise.all(exits)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const map = join(folder, 'map')
    await run('monmaptool', ['--create', '--fsid', cluster.id, '--addv', 'a', `[v2:127.0.0.1:${cluster.mon}]`, map])
    await ceph('ceph-mon', '--mkfs', '-i', 'a', '--monmap', map)
    start('ceph-mon', '-i', 'a')
    await ceph('ceph', '--connect-timeout', '30', 'osd', 'new', cluster.osd)
    await ceph('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', cluster.osd)
    start('ceph-osd', '-i', '0')
    start('radosgw', '-n', 'client.rgw')
    const keys = { accessKeyId: randomBytes(10).toString('hex'), secretAccessKey: randomBytes(20).toString('hex') }
    const named = ['--uid=sotto', '--display-name=sotto']
    const secret = [`--access-key=${keys.accessKeyId}`, `--secret-key=${keys.secretAccessKey}`]
    await ceph('radosgw-admin', 'user', 'create', ...named, ...secret)
    const endpoint = `http://127.0.0.1:${port}`
    await answers(endpoint)
    const bucket = 'sotto'
    const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { ...keys } })
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    client.destroy()
    return { endpoint, bucket, ...keys, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function answers(endpoint: string): Promise<void> {
  const deadline = performance.now() + READY_AFTER_MS
  while (performance.now() < deadline) {
    const answer = await fetch(endpoint).catch(() => null)
    if (answer) return
    await sleep(200)
  }
  throw new Error('the gateway of Ceph did not answer')
}

/** No authentication between the daemons, all of them on loopback; the gateway checks the signatures of S3 as ever. */
const configOf = (at: { folder: string; port: number; id: string; mon: number }): string => `[global]
fsid = ${at.id}
mon host = [v2:127.0.0.1:${at.mon}]
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
run dir = ${at.folder}
admin socket = ${at.folder}/$name.asok
pid file = ${at.folder}/$name.pid
log file = ${at.folder}/$name.log
[mon.a]
mon data = ${at.folder}/mon
[osd.0]
osd objectstore = memstore
memstore device bytes = 4294967296
osd data = ${at.folder}/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${at.port}
ms mon client mode = crc
auth client required = none
`

/**
 * A proxy before Ceph, which compares the `If-Match` of a write with an entity tag that has no quotes (its releases up to 16
 * at least). The header is not signed. workerd's cluster writes with it.
 */
export async function withBareEntityTags(target: string): Promise<{ url: string; close(): void }> {
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url = '/', headers } = incoming
    const tag = headers['if-match']
    const sent = tag === undefined ? headers : { ...headers, 'if-match': tag.replaceAll('"', '') }
    const upstream = httpRequest(new URL(url, target), { method, headers: sent }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    upstream.on('error', () => outgoing.destroy())
    outgoing.on('close', () => upstream.destroy())
    incoming.pipe(upstream)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, close: () => server.closeAllConnections() }
}
