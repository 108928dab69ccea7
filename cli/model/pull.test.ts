/** `sotto model pull` from a coordinator and a store that do not do what they should. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { hashOf } from '../../shared/ledger/index.ts'

const ENTRY = fileURLToPath(new URL('../sotto.mjs', import.meta.url))
const FILES: Record<string, Buffer> = {
  'onnx/model.onnx': Buffer.alloc(3_000_000, 7),
  'tokenizer.json': Buffer.from('{}'),
}
type Entry = { path: string; sha256: string; bytes: number }
const entriesOf = (files: Record<string, Buffer>): Entry[] =>
  Object.entries(files).map(([path, bytes]) => ({
    ...{ path, bytes: bytes.length },
    sha256: createHash('sha256').update(bytes).digest('hex'),
  }))
const ENTRIES = entriesOf(FILES)
const ID = hashOf({ files: ENTRIES })

type Fault = 'cut' | 'changed' | 'longer' | 'gone' | 'expired'
let faults: Record<string, Fault> = {}
let manifest: Entry[] = ENTRIES
let served: string[] = []
/** Counts up whenever addresses are made, so that a store can find one too old. */
let made = 0
const server = createServer(({ url = '' }, response) => {
  if (url.startsWith('/v1/models/')) {
    made += 1
    response.setHeader('content-type', 'application/json')
    const files = manifest.map((file) => ({ ...file, url: `/store/${file.path}?made=${made}` }))
    response.end(JSON.stringify({ id: url.split('/').at(-1), files }))
    return
  }
  const path = url.replace('/store/', '').replace(/\?.*/, '')
  served.push(path)
  const bytes = FILES[path] ?? Buffer.from('outside')
  const fault = faults[path]
  if (fault === 'gone' || (fault === 'expired' && url.endsWith('made=1'))) {
    response.writeHead(fault === 'gone' ? 404 : 403).end()
  } else if (fault === 'cut') {
    response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, bytes.length / 2))
    setTimeout(() => response.destroy(), 20)
  } else if (fault === 'longer') response.end(Buffer.concat([bytes, bytes]))
  else response.end(fault === 'changed' ? Buffer.alloc(bytes.length, 8) : bytes)
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
afterAll(() => server.close())
beforeEach(() => {
  ;[faults, manifest, served, made] = [{}, ENTRIES, [], 0]
})

const env = {
  ...process.env,
  SOTTO_COORDINATOR: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  SOTTO_TOKEN: 'sotto_a_token',
}
const pull = async (output: string, id = ID) => {
  const child = spawn(process.execPath, [ENTRY, 'model', 'pull', id, '--output', output, '--json'], { env })
  let out = ''
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
  const { data, error } = JSON.parse(out)
  return { status, data, error }
}
const fresh = () => join(mkdtempSync(join(tmpdir(), 'sotto-pull-')), 'model')
const filesIn = (folder: string) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => !entry.isDirectory())
        .map(({ name }) => name)
    : []

describe('sotto model pull', () => {
  test.each<[Fault, number, string, RegExp]>([
    ['cut', 3, 'unreachable', /broke off[\s\S]*The same command goes on/],
    ['changed', 1, 'model_mismatch', /onnx\/model\.onnx is another file/],
    ['longer', 1, 'model_mismatch', /onnx\/model\.onnx is another file/],
    ['gone', 1, 'missing_file', /push the model again/],
  ])('keeps nothing of a file that is %s, and goes on when it is whole', async (fault, code, name, words) => {
    const output = fresh()
    faults = { 'onnx/model.onnx': fault }
    const { status, error } = await pull(output)
    expect([status, error.code, error.message]).toEqual([code, name, expect.stringMatching(words)])
    expect(filesIn(output)).toEqual([])
    faults = { 'tokenizer.json': fault }
    expect((await pull(output)).status).toBe(code)
    expect(filesIn(output)).toEqual(['model.onnx'])
    ;[faults, served] = [{}, []]
    expect((await pull(output)).data).toMatchObject({ files: 2, kept: 1, bytes: 2 })
    expect(served).toEqual(['tokenizer.json'])
    for (const [path, bytes] of Object.entries(FILES)) expect(readFileSync(join(output, path)).equals(bytes)).toBe(true)
  })

  test('asks for addresses anew where one was good no longer', async () => {
    faults = { 'tokenizer.json': 'expired' }
    expect(await pull(fresh())).toMatchObject({ status: 0, data: { files: 2, kept: 0 } })
    expect(made).toBe(2)
  })

  test.each(['../outside', 'a/../../outside', '/outside', 'a//b', '.'])('takes no path as %s', async (path) => {
    const output = fresh()
    manifest = [{ path, sha256: createHash('sha256').update('outside').digest('hex'), bytes: 7 }]
    const { status, error } = await pull(output, hashOf({ files: manifest }))
    expect([status, error.code]).toEqual([1, 'model_mismatch'])
    expect([served, existsSync(join(output, '../outside'))]).toEqual([[], false])
  })

  test('takes no manifest of another model', async () => {
    const { status, error } = await pull(fresh(), 'f'.repeat(64))
    expect([status, error.code, served]).toEqual([1, 'model_mismatch', []])
  })

  test('follows no link out of its folder', async () => {
    const [output, elsewhere] = [fresh(), fresh()]
    mkdirSync(output)
    mkdirSync(elsewhere)
    symlinkSync(elsewhere, join(output, 'onnx'))
    const { status, error } = await pull(output)
    expect([status, error.code, readdirSync(elsewhere)]).toEqual([1, 'outside_folder', []])
    const file = join(fresh(), '..', 'file')
    writeFileSync(file, '')
    expect(await pull(file)).toMatchObject({ status: 1, error: { code: 'failed' } })
  })
})
