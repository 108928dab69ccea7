import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROOT, records, waitUntil } from './harness.ts'

const SOTTO = join(ROOT, 'cli/sotto.mjs')
const EXAMPLE = join(ROOT, 'examples/mailboxes')

describe('sotto dev', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-dev-'))
  const { SOTTO_TOKEN: _, SOTTO_COORDINATOR: __, ...rest } = process.env
  const env = { ...rest, XDG_CONFIG_HOME: join(folder, 'config') }
  let child: ChildProcess
  let printed = ''

  const start = async (...args: string[]) => {
    printed = ''
    child = spawn(process.execPath, [SOTTO, 'dev', '--port', '0', ...args], { cwd: folder, env })
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (printed += String(chunk)))
    await waitUntil('the house', () => printed.includes('Ready at') || child.exitCode !== null)
    expect(printed).toContain('Ready at')
  }
  const stopped = async () => {
    child.kill('SIGINT')
    return await new Promise<number | null>((resolve) => child.once('exit', resolve))
  }
  const sotto = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [SOTTO, ...args], {
      cwd: folder,
      env,
      encoding: 'utf8',
    })
    return { status, out: stdout, err: stderr }
  }
  /** The example's run, short. */
  const runFile = (rounds: number) => {
    const text = readFileSync(join(EXAMPLE, 'run.yaml'), 'utf8')
    const file = join(folder, `run-${rounds}.yaml`)
    const model = `model: ${JSON.stringify(join(EXAMPLE, '../../demo/model/spam-encoder'))}`
    writeFileSync(file, text.replace('rounds: 250', `rounds: ${rounds}`).replace(/^model: .*$/m, model))
    return file
  }
  /** The worker of a dataset, as the kernel lists it. @throws where there is none */
  const pidOf = (name: string): number => {
    const found = readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid)) return false
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return words.includes('gpu-worker/main.ts') && words.includes(join(folder, '.sotto/dev/workers', name))
      } catch {
        return false
      }
    })
    if (found.length !== 1) throw new Error(`${found.length} workers of ${name}`)
    return Number(found[0])
  }

  beforeAll(async () => await start())
  afterAll(() => {
    child.kill('SIGKILL')
    spawnSync('pkill', ['-9', '-f', folder])
    rmSync(folder, { recursive: true, force: true })
  })

  it('starts the three mailboxes where there is no project, and the next command speaks to it', () => {
    expect(printed).toMatch(/Ready at http:\/\/127\.0\.0\.1:\d+: north, east, west\./)
    const datasets = JSON.parse(sotto('dataset', 'list', '--json').out).data
    expect(datasets.map(({ id, units }: { id: string; units: number }) => [id, units])).toEqual([
      ['east', 1100],
      ['north', 1100],
      ['west', 1100],
    ])
    const { status, out, err } = sotto('run', 'create', '-f', runFile(5), '--wait', '--timeout', '100', '--json')
    expect({ status, err }).toEqual({ status: 0, err: '' })
    expect(JSON.parse(out).data).toMatchObject({ state: 'completed', rounds: 5 })
  })

  it.skipIf(!existsSync('/proc/self/cmdline'))(
    'starts a worker again that was killed, and goes on where it was after a stop',
    async () => {
      const before = pidOf('north')
      process.kill(before, 'SIGKILL')
      await waitUntil('another worker', () => {
        try {
          return pidOf('north') !== before
        } catch {
          return false
        }
      })
      expect(sotto('run', 'create', '-f', runFile(3), '--wait', '--timeout', '100').status).toBe(0)
      expect(await stopped()).toBe(0)
      expect(existsSync(join(folder, '.sotto/dev-login.json'))).toBe(false)
      expect(sotto('run', 'list')).toMatchObject({ status: 2, err: expect.stringContaining('sotto login') })
      await start()
      expect(JSON.parse(sotto('run', 'list', '--json').out).data).toHaveLength(2)
      expect(await stopped()).toBe(0)
    },
  )

  it('starts a project of its own, has its data written, and says what is wrong with it', async () => {
    const data = JSON.stringify(
      records('x', 30)
        .map((line) => JSON.stringify({ ...line, user: 'u' }))
        .join('\n'),
    )
    const make = `import { mkdirSync, writeFileSync } from 'node:fs'
      const folder = process.argv[2]
      mkdirSync(folder, { recursive: true })
      writeFileSync(folder + '/one.jsonl', ${data})`
    writeFileSync(join(folder, 'make.mjs'), make)
    const project = 'datasets: [{ id: one, data: made/one.jsonl, unit: user, epsilon: 2 }]\nmake: make.mjs\n'
    writeFileSync(join(folder, 'sotto.yaml'), project)
    await start('--dir', 'own')
    const [dataset] = JSON.parse(sotto('dataset', 'list', '--json').out).data
    expect(dataset).toMatchObject({ id: 'one', unit: 'user', units: 1, budget: { epsilon: 2, delta: 1e-5 } })
    expect(await stopped()).toBe(0)
    writeFileSync(join(folder, 'sotto.yaml'), project.replace('epsilon: 2', 'epsilon: 3'))
    const other = sotto('dev', '--dir', 'own', '--port', '0')
    expect([other.status, other.err]).toEqual([2, expect.stringContaining('registered otherwise')])
    for (const [text, said] of [
      ['datasets: []', /datasets: /],
      ['datasets: [{ id: A, data: x, epsilon: 1 }]', /datasets\.0\.id: /],
      ['datasets: [{ id: a, data: nowhere.jsonl, epsilon: 1 }]', /nowhere\.jsonl is not there/],
      ['datasets: [{ id: a, data: x, epsilon: 1 }, { id: a, data: y, epsilon: 1 }]', /two datasets have one id/],
      ['a: [', /sotto\.yaml/],
    ] as const) {
      writeFileSync(join(folder, 'sotto.yaml'), text)
      const { status, err } = sotto('dev', '--dir', 'bad', '--port', '0')
      expect([text, status, err]).toEqual([text, 2, expect.stringMatching(said)])
    }
    writeFileSync(join(folder, 'make.mjs'), 'throw new Error("no mails today")')
    writeFileSync(join(folder, 'sotto.yaml'), project.replace('made/', 'other/'))
    const failed = sotto('dev', '--dir', 'bad', '--port', '0')
    expect([failed.status, failed.err]).toEqual([1, expect.stringContaining('failed')])
  })

  it('ends with what a part of it said that can not start', () => {
    writeFileSync(join(folder, 'sotto.yaml'), 'datasets: [{ id: one, data: broken.jsonl, epsilon: 2 }]\n')
    writeFileSync(join(folder, 'broken.jsonl'), '{"text": 1}\n')
    const { status, err } = sotto('dev', '--dir', 'broken', '--port', '0')
    expect([status, err]).toEqual([1, expect.stringMatching(/worker-one ended with 1[\s\S]*broken\.jsonl:1/)])
    expect(sotto('dev', '--help').out).toMatch(/\nExamples\n {2}sotto dev/)
  })
})
