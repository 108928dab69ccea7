import { spawnSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { freePort } from '../../cli/dev/processes.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import type { Run } from '../../shared/api/index.ts'
import {
  consistencyProof,
  cosignedAt,
  leafHash,
  parseWitnessKey,
  rootOf,
  signCheckpoint,
  toBase64,
} from '../../shared/ledger/index.ts'
import { appendLeaf, EMPTY_TREE } from '../../shared/ledger/merkle.ts'
import { odometer } from '../../shared/privacy/index.ts'
import { ROOT, Stage, startProcess, waitUntil } from './harness.ts'

/** Lines of a log's segments, in order. */
const recordsIn = (objects: string, run: string): string[] =>
  readdirSync(join(objects, 'runs', run, 'log'))
    .sort()
    .flatMap((name) =>
      readFileSync(join(objects, 'runs', run, 'log', name), 'utf8')
        .trimEnd()
        .split('\n'),
    )

const sotto = (args: string[], env: NodeJS.ProcessEnv = {}) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'cli/sotto.mjs'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  return { status, out: stdout, err: stderr }
}

describe('sotto audit over a run of real processes', () => {
  const stage = new Stage()
  const sites = ['north', 'east']
  let run: Run
  let key: string
  let objects: string
  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of sites) await stage.addSite(site)
    for (const site of sites) stage.startWorker(site)
    const { id } = await stage.submit({ rounds: 4, directions: 3, datasets: sites })
    run = await stage.finish(id)
    const headers = { Authorization: `Bearer ${stage.adminToken}` }
    const answer = await fetch(`${stage.url}/v1/log`, { headers })
    const identity = (await answer.json()) as { name: string; publicKey: string }
    expect(identity).toEqual({ name: 'sotto.local', publicKey: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/) })
    key = identity.publicKey
    // The directory is told of the end when all that the run reserved is returned and signed.
    await waitUntil('the return of what was reserved', async () => {
      const page = (await (await fetch(`${stage.url}/v1/runs`, { headers })).json()) as { items: Run[] }
      return page.items.every(({ state }) => state === 'completed')
    })
    // No coordinator is asked from here on.
    await stage.close()
    objects = join(stage.folder, 'coordinator/objects')
  })
  afterAll(() => stage.close())

  const audit = (from: string, ...more: string[]) =>
    sotto(['audit', 'run', run.id, '--from', from, '--key', key, ...more])

  it('agrees with what the coordinator said, in words, in JSON and as a page that stands alone', () => {
    expect(run.state).toBe('completed')
    const page = join(stage.folder, 'audit.html')
    const told = audit(objects, '--json', '--html', page)
    expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
    const answer = JSON.parse(told.out).data
    expect(answer).toMatchObject({ holds: true, run: run.id, outcome: 'completed', rounds: 4, unsigned: 0 })
    expect(answer).toMatchObject({
      stateHash: run.stateHash,
      specHash: run.specHash,
      checkpoint: { size: run.head.size },
    })
    for (const { dataset, epsilon } of run.spent) {
      const own = answer.spent.find((each: { dataset: string }) => each.dataset === dataset)
      expect(own.epsilon).toBeCloseTo(epsilon, 12)
      expect(own.lower).toBeLessThanOrEqual(own.epsilon)
      expect(own.rdp).toBeGreaterThanOrEqual(own.epsilon)
      expect(own).toMatchObject({ charges: 4, reports: 4 })
    }
    const html = readFileSync(page, 'utf8')
    expect(html).toContain('The log holds.')
    expect(html).toContain(run.stateHash)
    expect(html).not.toMatch(/<script|(?:src|href)="/)
    const words = audit(objects)
    expect(words.out).toMatch(new RegExp(`The log of ${run.id} holds[\\s\\S]*north[\\s\\S]*east`))
  })

  it('adds up what a dataset spent over its life, and finds a run that its log does not know of', async () => {
    const told = sotto(['audit', 'dataset', 'north', '--from', objects, '--key', key, '--json'])
    expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
    const answer = JSON.parse(told.out).data
    expect(answer).toMatchObject({ holds: true, charges: 4, reserved: 0, isFrozen: false, unsigned: 0 })
    expect(answer.runs).toMatchObject([{ run: run.id, charges: 4, left: 0 }])
    const { delta } = answer.dataset.budget
    const events = recordsIn(objects, `${run.id}`).flatMap((line) => {
      const record = JSON.parse(line)
      return record.type === 'charge' && record.dataset === 'north' ? [{ event: record.event, count: 1 }] : []
    })
    expect(answer.epsilon).toBeCloseTo(odometer(events, delta).epsilon, 12)
    const words = sotto(['audit', 'dataset', 'north', '--from', objects, '--key', key])
    expect(words.out).toMatch(new RegExp(`dataset north holds[\\s\\S]*${run.id}[\\s\\S]*4 charges, 0 still reserved`))
    const copy = join(stage.folder, 'without-run')
    cpSync(objects, copy, { recursive: true })
    rmSync(join(copy, 'runs', run.id), { recursive: true })
    const gone = sotto(['audit', 'dataset', 'north', '--from', copy, '--key', key, '--json'])
    expect(gone.status).toBe(1)
    const object = `runs/${run.id}/checkpoint`
    const message = expect.stringMatching(/^the log of north does not hold: .*missing/)
    expect(JSON.parse(gone.out)).toEqual({
      error: { code: 'missing', message, holds: false, dataset: 'north', object },
    })
    expect(sotto(['audit', 'dataset', 'nowhere', '--from', objects, '--key', key]).status).toBe(1)
    expect(sotto(['audit', 'dataset', 'No Id', '--from', objects, '--key', key]).status).toBe(2)
  })

  it('says which object does not hold, and ends with 1', () => {
    const copy = join(stage.folder, 'copy')
    cpSync(objects, copy, { recursive: true })
    const segment = `runs/${run.id}/log/00000000.jsonl`
    const bytes = readFileSync(join(copy, segment))
    bytes[bytes.length >> 1]! ^= 1
    writeFileSync(join(copy, segment), bytes)
    const flipped = audit(copy, '--json')
    expect(flipped.status).toBe(1)
    expect(JSON.parse(flipped.out).error).toMatchObject({ holds: false, run: run.id, object: segment })
    expect(flipped.err).toContain(segment)
    rmSync(join(copy, segment))
    expect(audit(copy).err).toContain('truncated')
  })

  it('writes the log as tiles that other tools read', () => {
    const output = join(stage.folder, 'tiles')
    const told = sotto(['audit', 'tiles', run.id, '--from', objects, '--key', key, '--output', output, '--json'])
    expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
    const { size } = run.head
    expect(JSON.parse(told.out).data).toMatchObject({ size, tiles: 1, bundles: 1 })
    const tile = readFileSync(join(output, `tile/0/000.p/${size}`))
    const leaves = Array.from({ length: size }, (_, i) => new Uint8Array(tile.subarray(32 * i, 32 * (i + 1))))
    const root = toBase64(rootOf(leaves.reduce(appendLeaf, EMPTY_TREE)))
    expect(readFileSync(join(output, 'checkpoint'), 'utf8').split('\n').slice(1, 3)).toEqual([String(size), root])
    const bundle = readFileSync(join(output, `tile/entries/000.p/${size}`))
    expect(bundle.subarray(2, 2 + bundle.readUInt16BE(0)).toString()).toBe(recordsIn(objects, run.id)[0])
  })

  it('proves a round to those who have the proof alone', () => {
    const file = join(stage.folder, 'round.tlog-proof')
    const log = ['--key', key]
    expect(sotto(['audit', 'proof', run.id, '--round', '2', '--from', objects, ...log, '--output', file]).status).toBe(
      0,
    )
    const asked = ['audit', 'proof', run.id, '--round', '2', '--from', objects, ...log, '--json']
    const { data } = JSON.parse(sotto(asked).out)
    expect(data).toEqual({ run: run.id, round: 2, proof: readFileSync(file, 'utf8') })
    expect(readFileSync(file, 'utf8')).toMatch(/^c2sp\.org\/tlog-proof@v1\nextra \S+\nindex \d+\n/)
    const checked = sotto(['audit', 'proof', run.id, '--check', file, ...log, '--json'])
    expect(checked.status).toBe(0)
    expect(JSON.parse(checked.out).data).toMatchObject({ holds: true, round: 2, size: run.head.size })
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^index \d+/m, 'index 1'))
    const refused = sotto(['audit', 'proof', run.id, '--check', file, ...log])
    expect([refused.status, refused.err]).toEqual([1, expect.stringContaining('wrong_proof')])
    const inJson = sotto(['audit', 'proof', run.id, '--check', file, ...log, '--json'])
    expect(JSON.parse(inJson.out)).toMatchObject({ error: { code: 'wrong_proof', holds: false, run: run.id } })
    const early = sotto(['audit', 'proof', run.id, '--round', '99', '--from', objects, ...log])
    expect([early.status, early.err]).toEqual([1, expect.stringContaining('round 99')])
  })

  it('has a witness cosign what it audited, and is told of a log that the witness saw and is not here', async () => {
    const port = await freePort()
    const args = ['witness', '--state', join(stage.folder, 'witness'), '--name', 'witness.example']
    const process = startProcess('cli/sotto.mjs', [
      ...args,
      '--log',
      `sotto.local=${key}`,
      '--listen',
      `127.0.0.1:${port}`,
    ])
    stage.processes.push(process)
    await waitUntil('the witness', () => process.output().includes('witness.example+'))
    const witness = `http://127.0.0.1:${port}=${process.output().trim().split('\n').at(-1)}`
    const file = join(stage.folder, 'cosigned')
    for (let times = 0; times < 2; times++) {
      const told = audit(objects, '--json', '--witness', witness, '--cosigned', file)
      expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
      expect(JSON.parse(told.out).data.cosigned).toEqual([{ witness: 'witness.example', time: expect.any(Number) }])
    }
    const cosigned = readFileSync(file, 'utf8')
    expect(cosigned).toContain(readFileSync(join(objects, `runs/${run.id}/checkpoint`), 'utf8'))
    expect(
      await cosignedAt(cosigned, parseWitnessKey(witness.split('=').slice(1).join('='))!, verifyEd25519),
    ).toBeGreaterThan(0)

    // The coordinator shows the witness a log that goes on otherwise.
    const logKey = await openLogKey('sotto.local', readFileSync(join(stage.folder, 'coordinator/log.key')))
    const signer = { name: `sotto.local/${run.id}`, publicKey: logKey.publicKey }
    const leaves = recordsIn(objects, run.id).map((line) => leafHash(line))
    const longer = [...leaves, leafHash('one more')]
    const root = rootOf(longer.reduce(appendLeaf, EMPTY_TREE))
    const note = await signCheckpoint({ origin: signer.name, size: longer.length, root }, signer, logKey.sign)
    const proof = consistencyProof(longer, leaves.length).map(toBase64)
    const body = [`old ${leaves.length}`, ...proof, '', note].join('\n')
    expect((await fetch(`http://127.0.0.1:${port}/add-checkpoint`, { method: 'POST', body })).status).toBe(200)
    const split = audit(objects, '--witness', witness)
    expect([split.status, split.err]).toEqual([1, expect.stringContaining(`saw ${longer.length} records`)])
    process.child.kill('SIGTERM')
    expect(await process.exited).toBe(0)
    expect(audit(objects, '--witness', witness).status).toBe(3)
    expect(audit(objects, '--witness', 'nonsense').status).toBe(2)
  })

  it.each([
    ['a key that is none', ['--from', '.', '--key', 'x'], 2, '--key'],
    ['no folder', ['--from', '/nowhere', '--key', 'KEY'], 2, '/nowhere'],
    ['a place of another kind', ['--from', 'https://example.org', '--key', 'KEY'], 2, 's3://'],
    ['no place', ['--key', 'KEY'], 2, '--from'],
    ['a bucket that is not there', ['--from', 's3://sotto', '--key', 'KEY'], 3, 's3://sotto'],
  ])('refuses %s', (_, args, status, word) => {
    const env = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', SOTTO_S3_ENDPOINT: 'http://127.0.0.1:1' }
    const given = args.map((arg) => (arg === 'KEY' ? key : arg))
    const ended = sotto(['audit', 'run', run.id, ...given], env)
    expect([ended.status, ended.err]).toEqual([status, expect.stringContaining(word)])
  })
})
