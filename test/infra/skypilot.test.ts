import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { findPython, findTool, outcomeOf, ROOT, unless } from './tools.ts'

const FILE = 'infra/skypilot/worker.yaml'
const text = readFileSync(join(ROOT, FILE), 'utf8')
const task: {
  resources: Record<string, unknown>
  envs: Record<string, string>
  secrets: Record<string, unknown>
  file_mounts: Record<string, { source: string; mode: string }>
  setup: string
  run: string
} = parse(text)
/** It reads its catalogues without a network, and tells nobody of it. */
const sky = findPython('sky')
const shellcheck = findTool('shellcheck')

describe('the task of SkyPilot', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-sky-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const outcome = (yaml: string) => {
    const file = join(folder, 'worker.yaml')
    writeFileSync(file, yaml)
    const settings = [`HOME=${folder}`, 'SKYPILOT_DISABLE_USAGE_COLLECTION=1']
    return outcomeOf('env', [...settings, sky!, 'test/infra/skypilot.py', file])
  }

  it.skipIf(!sky)(`is one that SkyPilot reads as it is meant${unless(sky, 'skypilot')}`, () => {
    const { status, said } = outcome(text)
    expect(status, said).toBe(0)
    expect(JSON.parse(said.trimEnd().split('\n').at(-1)!)).toEqual({
      cloud: 'AWS',
      region: 'eu-central-1',
      spot: true,
      accelerators: { L4: 1 },
      recovery: { strategy: 'FAILOVER', max_restarts_on_errors: 3 },
      ports: null,
      data: { '/sotto/data': ['s3://north-data', 'COPY'] },
    })
  })

  it.skipIf(!sky).each([
    ['a field that it does not know', (yaml: string) => yaml.replace('use_spot:', 'use_spots:')],
    ['a cloud that there is not', (yaml: string) => yaml.replace('infra: aws/', 'infra: asw/')],
    ['a setting without a value', (yaml: string) => yaml.replace('SOTTO_WORKER: north', 'SOTTO_WORKER: null')],
  ])('is refused with %s', (_, change) => {
    expect(outcome(change(text)).status).not.toBe(0)
  })

  it.skipIf(!shellcheck)(`has scripts that pass ShellCheck${unless(shellcheck, 'shellcheck')}`, () => {
    for (const script of [task.setup, task.run]) {
      const whole = `#!/bin/bash\n: "\${${Object.keys({ ...task.envs, ...task.secrets }).join('}" "${')}}"\n${script}`
      expect(outcomeOf(shellcheck!, ['-'], whole)).toEqual({ status: 0, said: '' })
    }
  })

  it('stays in one region, opens no port, and has no token in it', () => {
    expect(task.resources.infra).toMatch(/^[a-z]+\/[a-z0-9-]+$/)
    expect(task.resources).not.toHaveProperty('ports')
    expect(task.resources).not.toHaveProperty('any_of')
    expect(task.secrets).toEqual({ SOTTO_TOKEN: null })
    // By name: its value would stand in a command line.
    expect(task.run).toMatch(/--env SOTTO_TOKEN(?!=)/)
    expect(task.run).not.toContain('--publish')
  })

  it('keeps the state on a file server, never in a bucket or on the machine', () => {
    const buckets = Object.entries(task.file_mounts)
    expect(buckets.map(([path, { mode }]) => [path, mode])).toEqual([['/sotto/data', 'COPY']])
    expect(task.setup).toContain('mount -t nfs4')
    expect(task.run).toContain('--volume "/sotto/nfs/$SOTTO_WORKER:/state"')
    expect(task.run).toMatch(/--volume "[^"]+:\/data:ro"/)
  })

  it('starts an image of one version, and a worker with options that it knows', () => {
    expect(task.envs.SOTTO_IMAGE).toMatch(/:\d+\.\d+\.\d+$/)
    const { said } = outcomeOf(process.execPath, ['gpu-worker/main.ts', '--help'])
    const own = `${task.run.split('"$SOTTO_IMAGE"')[1]} ${task.envs.SOTTO_OPTIONS}`
    const options = own.match(/--[a-z-]+/g)!
    expect(options).toContain('--idle')
    expect(options.filter((option) => !said.includes(option))).toEqual([])
  })
})
