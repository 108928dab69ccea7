import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { hashOf } from '../shared/ledger/index.ts'
import { connectCoordinator } from './coordinator.ts'
import { fetchModel } from './model-files.ts'

const FILES: Record<string, Buffer> = {
  'onnx/model.onnx': Buffer.alloc(3_000_000, 7),
  'tokenizer.json': Buffer.from('{}'),
}
const entries = Object.entries(FILES)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([path, bytes]) => ({ path, sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length }))
const id = hashOf({ files: entries })

let served: string[] = []
let broken: ((path: string) => 'cut' | 'changed' | undefined) | undefined
const server = createServer(({ url = '' }, response) => {
  const path = url.replace('/store/', '')
  if (url === `/v1/models/${id}`) {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ id, files: entries.map((file) => ({ ...file, url: `/store/${file.path}` })) }))
    return
  }
  served.push(path)
  const bytes = FILES[path]!
  const fault = broken?.(path)
  response.setHeader('content-length', bytes.length)
  if (fault === 'cut') {
    response.write(bytes.subarray(0, 1000))
    setTimeout(() => response.destroy(), 20)
  } else response.end(fault === 'changed' ? Buffer.alloc(bytes.length, 8) : bytes)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
afterAll(() => server.close())
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const coordinator = connectCoordinator(base, 'token', new AbortController().signal)
const fresh = () => mkdtempSync(join(tmpdir(), 'sotto-models-'))
const fetched = (folder: string) => fetchModel(coordinator, id, folder)

describe('a model from the store', () => {
  it('is downloaded once, byte for byte', async () => {
    const folder = fresh()
    served = []
    const model = await fetched(folder)
    for (const [path, bytes] of Object.entries(FILES)) expect(readFileSync(join(model, path)).equals(bytes)).toBe(true)
    expect(served).toHaveLength(2)
    await fetched(folder)
    expect(served).toHaveLength(2)
  })

  it('is downloaded again where a file was changed since', async () => {
    const folder = fresh()
    const model = await fetched(folder)
    writeFileSync(join(model, 'tokenizer.json'), '[]')
    served = []
    await fetched(folder)
    expect(served).toEqual(['tokenizer.json'])
    expect(readFileSync(join(model, 'tokenizer.json'), 'utf8')).toBe('{}')
  })

  it('leaves nothing behind where the connection breaks off, and can be tried again', async () => {
    const folder = fresh()
    broken = () => 'cut'
    await expect(fetched(folder)).rejects.toMatchObject({ code: 'unreachable' })
    expect(readdirSync(join(folder, id, 'onnx'))).toEqual([])
    broken = undefined
    await fetched(folder)
    expect(existsSync(join(folder, id, 'onnx/model.onnx'))).toBe(true)
  })

  it('is refused where a file is another', async () => {
    const folder = fresh()
    broken = (path) => (path === 'tokenizer.json' ? 'changed' : undefined)
    await expect(fetched(folder)).rejects.toMatchObject({ code: 'model_mismatch' })
    broken = undefined
    expect(existsSync(join(folder, id, 'tokenizer.json'))).toBe(false)
  })

  it('is refused where the disk cannot be written', async () => {
    const folder = join(fresh(), 'file')
    writeFileSync(folder, '')
    await expect(fetched(folder)).rejects.toMatchObject({ code: 'disk_full' })
  })
})
