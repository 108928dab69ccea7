import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { hashHex } from '../../shared/ledger/index.ts'
import { hasCeph, startCeph } from '../../test/tooling/ceph.ts'
import {
  commitObject,
  FolderStore,
  isKey,
  loadSigningKey,
  type ObjectStore,
  openS3Store,
  serveFolder,
} from './index.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)
const code = (value: string) => expect.objectContaining({ code: value })
const clock = { now: Date.now() }

interface Stage {
  readonly store: ObjectStore
  close(): Promise<void>
}

async function folderStage(): Promise<Stage & { root: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-'))
  const root = join(folder, 'objects')
  const address = { url: '' }
  const signingKey = await loadSigningKey(join(folder, 'key'))
  const store = await FolderStore.open({ root, signingKey, baseUrl: () => address.url, now: () => clock.now })
  const { promise, resolve } = Promise.withResolvers<number>()
  const server = serve({ fetch: serveFolder(store).fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
  address.url = `http://127.0.0.1:${await promise}`
  async function close() {
    server.close()
    rmSync(folder, { recursive: true })
  }
  return { store, root, close }
}

async function cephStage(): Promise<Stage> {
  const { close, ...options } = await startCeph()
  return { store: openS3Store(options), close }
}

const stages: [string, () => Promise<Stage>][] = [
  ['folder', folderStage],
  ['S3', async () => ({ store: openS3Store(inject('s3')), close: async () => undefined })],
  ['Ceph', cephStage],
]
/** Nobody here wrote it, and it is no part of any package of npm. */
const absent = (name: string) => name === 'Ceph' && !hasCeph()

describe.each(stages)('%s store', (name, open) => {
  if (absent(name)) return it.skip('needs Ceph: apt-get install ceph-mon ceph-osd radosgw ceph-common')
  let stage: Stage
  let store: ObjectStore
  const prefix = `contract-${randomBytes(6).toString('hex')}`
  let number = 0
  const newKey = () => `${prefix}/deep/er/${number++}.bin`

  beforeAll(async () => {
    stage = await open()
    store = stage.store
  })
  afterAll(async () => {
    await stage.close()
  })

  it('keeps what was created, and never overwrites', async () => {
    const key = newKey()
    expect(await store.create(key, bytesOf('one'))).toBe('created')
    expect(await store.create(key, bytesOf('two'))).toBe('exists')
    expect(await store.fetch(key)).toEqual(bytesOf('one'))
    expect(await store.size(key)).toBe(3)
  })

  it('answers null for what is not there', async () => {
    expect(await store.fetch(newKey())).toBeNull()
    expect(await store.size(newKey())).toBeNull()
    expect(await store.size(`${prefix}/deep`)).toBeNull()
  })

  it('keeps empty and large objects', async () => {
    const large = new Uint8Array(randomBytes(3_000_000))
    const [first, second] = [newKey(), newKey()]
    await store.create(first, new Uint8Array())
    await store.create(second, large)
    expect(await store.size(first)).toBe(0)
    expect(await store.fetch(second)).toEqual(large)
  })

  it('has one winner of a race', async () => {
    const key = newKey()
    const outcomes = await Promise.all(Array.from({ length: 12 }, (_, i) => store.create(key, bytesOf(`racer ${i}`))))
    expect(outcomes.filter((outcome) => outcome === 'created')).toHaveLength(1)
    const winner = outcomes.indexOf('created')
    expect(await store.fetch(key)).toEqual(bytesOf(`racer ${winner}`))
  })

  it('commits the same bytes again, and no others', async () => {
    const key = newKey()
    await commitObject(store, key, bytesOf('one'))
    await commitObject(store, key, bytesOf('one'))
    await expect(commitObject(store, key, bytesOf('two'))).rejects.toEqual(code('conflict'))
  })

  it('gives by a signed URL', async () => {
    const key = newKey()
    await store.create(key, bytesOf('one'))
    const response = await fetch(await store.signedGet(key, 60))
    expect([response.status, await response.text()]).toEqual([200, 'one'])
    expect((await fetch(await store.signedGet(newKey(), 60))).status).toBe(404)
  })

  it('takes by a signed URL', async () => {
    const key = newKey()
    const response = await fetch(await store.signedPut(key, 60), { method: 'PUT', body: 'one' })
    expect(response.ok).toBe(true)
    expect(await store.fetch(key)).toEqual(bytesOf('one'))
  })

  it('refuses a URL with another signature, method or key, or without one', async () => {
    const key = newKey()
    const other = newKey()
    await store.create(key, bytesOf('one'))
    await store.create(other, bytesOf('two'))
    const url = new URL(await store.signedGet(key, 60))
    const status = async (change: (url: URL) => void, method = 'GET') => {
      const changed = new URL(url)
      change(changed)
      return (await fetch(changed, { method, ...(method === 'PUT' ? { body: 'x' } : {}) })).status
    }
    expect(await status(() => undefined)).toBe(200)
    const signature = [...url.searchParams.keys()].find((name) => name.toLowerCase().includes('signature'))!
    const flipped = url.searchParams.get(signature)!.replace(/^./, (c) => (c === 'a' ? 'b' : 'a'))
    expect(await status((u) => u.searchParams.set(signature, flipped))).toBe(403)
    expect(await status(() => undefined, 'PUT')).toBe(403)
    expect(await status((u) => Object.assign(u, { pathname: u.pathname.replace(key, other) }))).toBe(403)
    expect([400, 401, 403]).toContain(await status((u) => Object.assign(u, { search: '' })))
  })

  it('refuses a URL that expired', async () => {
    const key = newKey()
    await store.create(key, bytesOf('one'))
    const url = await store.signedGet(key, 1)
    if (name === 'folder') clock.now += 1001
    else await new Promise((resolve) => setTimeout(resolve, 2100))
    expect((await fetch(url)).status).toBe(403)
  })

  it.each([
    '',
    '/a',
    'a/',
    'a//b',
    '../a',
    'a/../b',
    'a/./b',
    '.tmp/a',
    'a/.b',
    'a\\b',
    'a%2e',
    'a b',
    'ä',
    'a\0',
    `${'a'.repeat(513)}`,
  ])('refuses the key %j', async (key) => {
    expect(isKey(key)).toBe(false)
    await expect(store.create(key, bytesOf('x'))).rejects.toEqual(code('refused'))
    await expect(store.fetch(key)).rejects.toEqual(code('refused'))
    await expect(store.size(key)).rejects.toEqual(code('refused'))
    await expect((async () => store.signedPut(key, 60))()).rejects.toEqual(code('refused'))
  })
})

describe('the folder store', () => {
  let stage: Awaited<ReturnType<typeof folderStage>>
  beforeAll(async () => {
    stage = await folderStage()
  })
  afterAll(async () => {
    await stage.close()
  })
  const put = async (key: string, body: string) =>
    (await fetch(await stage.store.signedPut(key, 60), { method: 'PUT', body })).status

  it('takes the same upload again, refuses another, and checks the hash of blobs', async () => {
    expect(await put('models/a.json', 'one')).toBe(200)
    expect(await put('models/a.json', 'one')).toBe(200)
    expect(await put('models/a.json', 'two')).toBe(409)
    expect(await put(`blobs/${hashHex('one')}`, 'two')).toBe(400)
    expect(await put(`blobs/${hashHex('one')}`, 'one')).toBe(200)
  })

  it('clears what a killed process left half-written', async () => {
    mkdirSync(join(stage.root, '.tmp'), { recursive: true })
    writeFileSync(join(stage.root, '.tmp', 'left'), 'half')
    const options = { root: stage.root, signingKey: new Uint8Array(32), baseUrl: () => '', now: () => 0 }
    await FolderStore.open(options)
    expect(readdirSync(join(stage.root, '.tmp'))).toEqual([])
  })

  it('says so where a key is a folder, and where a folder is an object', async () => {
    await stage.store.create('tree/leaf', bytesOf('one'))
    expect(await stage.store.create('tree', bytesOf('two'))).toBe('exists')
    await expect(commitObject(stage.store, 'tree', bytesOf('two'))).rejects.toBeDefined()
    await expect(stage.store.create('tree/leaf/more', bytesOf('two'))).rejects.toBeDefined()
  })
})

describe('the S3 store', () => {
  it('with a wrong secret is refused', async () => {
    const store = openS3Store({ ...inject('s3'), secretAccessKey: 'wrong' })
    await expect(store.create('a/b', bytesOf('x'))).rejects.toEqual(code('refused'))
    await expect(store.fetch('a/b')).rejects.toEqual(code('refused'))
    await expect(store.size('a/b')).rejects.toEqual(code('refused'))
  })

  it('out of reach is unavailable', async () => {
    const store = openS3Store({ ...inject('s3'), endpoint: 'http://127.0.0.1:9' })
    await expect(store.create('a/b', bytesOf('x'))).rejects.toEqual(code('unavailable'))
  })

  it('gives each upload a checksum, as a bucket wants whose objects are locked for a time', async () => {
    const sums: unknown[] = []
    const locked = createServer(async (request, response) => {
      const hash = createHash('md5')
      for await (const chunk of request) hash.update(chunk)
      const sum = request.headers['content-md5']
      sums.push(sum)
      response.writeHead(sum === hash.digest('base64') ? 200 : 400).end()
    })
    await new Promise<void>((resolve) => locked.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(locked.address() as AddressInfo).port}`
    const store = openS3Store({ ...inject('s3'), endpoint })
    expect(await store.create('a/b', bytesOf('x'))).toBe('created')
    await store.replace('a/b', new Uint8Array())
    expect(sums).toHaveLength(2)
    locked.close()
  })
})
