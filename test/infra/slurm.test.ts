import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findTool, outcomeOf, ROOT, tracked, unless } from './tools.ts'

const SCRIPT = join(ROOT, 'infra/slurm/worker.sbatch')
const scripts = () => tracked('infra').filter((file) => /\.(sh|sbatch)$/.test(file))

const shellcheck = findTool('shellcheck')
describe('shell scripts', () => {
  it('are Bash', () => {
    expect(scripts()).toContain('infra/slurm/worker.sbatch')
    for (const script of scripts()) expect(outcomeOf('bash', ['-n', script])).toEqual({ status: 0, said: '' })
  })

  it.skipIf(!shellcheck)(`pass ShellCheck, which refuses a worse one${unless(shellcheck, 'shellcheck')}`, () => {
    expect(outcomeOf(shellcheck!, scripts())).toEqual({ status: 0, said: '' })
    expect(outcomeOf(shellcheck!, ['-'], '#!/bin/bash\ncat $1 | rm $(ls)\n')).toMatchObject({ status: 1 })
  })
})

/** Slurm's own reading of the script, where a controller answers. */
const sbatch = findTool('sbatch') && spawnSync('sinfo', [], { timeout: 5000 }).status === 0 ? findTool('sbatch') : null

describe('the batch job', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-slurm-'))
  const settings = join(folder, 'north.env')
  const calls = join(folder, 'calls')
  const bin = join(folder, 'node_modules/.bin')
  const write = (file: string, text: string, mode: number) => {
    writeFileSync(file, text)
    chmodSync(file, mode)
  }
  /** In the place of Slurm and of a worker: what they are called with is written down. */
  const standIn = (name: string, then: string) =>
    write(join(bin, name), `#!/bin/bash\necho "${name} $*" >> ${calls}\n${then}\n`, 0o755)
  const environment = { PATH: `${bin}:${process.env.PATH}`, SLURM_JOB_ID: '7' }
  const called = () => readFileSync(calls, 'utf8').trimEnd().split('\n')

  beforeAll(() => {
    mkdirSync(bin, { recursive: true })
    standIn('scontrol', 'kill -TERM $PPID')
    const lines = [
      'COORDINATOR=http://127.0.0.1:1',
      'TOKEN=sotto_north',
      'DATA=mail.jsonl',
      'STATE=state',
      `HOME=${folder}`,
    ]
    write(
      settings,
      `${[...lines, 'OPTIONS="--idle 60 --threads 1"'].map((line) => `SOTTO_${line}`).join('\n')}\n`,
      0o600,
    )
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('starts one worker with the settings of its dataset, the token not among its arguments', () => {
    standIn('node', 'exit 0')
    writeFileSync(calls, '')
    execFileSync('bash', [SCRIPT, settings], { env: environment })
    const asked = `gpu-worker/main.ts --data mail.jsonl --state state --json --idle 60 --threads 1`
    expect(called()).toEqual([`node --disable-warning=ExperimentalWarning ${folder}/${asked}`])
  })

  it('ends as its worker ends', () => {
    standIn('node', 'exit 1')
    expect(spawnSync('bash', [SCRIPT, settings], { env: environment }).status).toBe(1)
  })

  it('lets the worker end before its time is up, and goes back into the queue', async () => {
    standIn('node', `trap 'echo stopped >> ${calls}; exit 0' TERM\necho ready\nwhile :; do sleep 0.1; done`)
    writeFileSync(calls, '')
    const job = spawn('bash', [SCRIPT, settings], { env: environment })
    const ended = new Promise((resolve) => job.once('exit', resolve))
    await new Promise((resolve) => job.stdout.once('data', resolve))
    job.kill('SIGUSR1')
    await expect
      .poll(called, { timeout: 10_000 })
      .toEqual([expect.stringContaining('node '), 'stopped', 'scontrol requeue 7'])
    job.kill('SIGKILL')
    await ended
  })

  it('takes no settings that others can read, nor such as lack something', () => {
    const other = join(folder, 'other.env')
    write(other, readFileSync(settings, 'utf8'), 0o640)
    const open = spawnSync('bash', [SCRIPT, other], { env: environment, encoding: 'utf8' })
    expect([open.status, open.stderr]).toEqual([2, expect.stringContaining('chmod 600')])
    write(other, 'SOTTO_COORDINATOR=http://127.0.0.1:1\n', 0o600)
    const lacking = spawnSync('bash', [SCRIPT, other], { env: environment, encoding: 'utf8' })
    expect([lacking.status === 0, lacking.stderr]).toEqual([false, expect.stringContaining('SOTTO_TOKEN')])
    expect(spawnSync('bash', [SCRIPT, join(folder, 'none')], { env: environment }).status).toBe(2)
  })

  it('is one at a time for a dataset, is queued again, and takes nothing of who submits it', () => {
    const options = readFileSync(SCRIPT, 'utf8').match(/^#SBATCH .*$/gm)!
    for (const option of ['--dependency=singleton', '--requeue', '--export=NONE', '--ntasks=1', '--open-mode=append'])
      expect(options).toContain(`#SBATCH ${option}`)
    expect(options.filter((option) => option.includes('--signal=B:USR1@'))).toHaveLength(1)
  })

  it.skipIf(!sbatch)(`is one that Slurm would take${unless(sbatch, 'a running Slurm')}`, () => {
    const { status, said } = outcomeOf(sbatch!, ['--test-only', SCRIPT, settings])
    expect([status, said]).toEqual([0, expect.stringMatching(/to start at/)])
  })
})
