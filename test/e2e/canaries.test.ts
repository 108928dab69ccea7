import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Run } from '../../shared/api/index.ts'
import { MODEL, ROOT, records, Stage } from './harness.ts'

const sotto = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'cli/sotto.mjs'), ...args], {
    encoding: 'utf8',
  })
  return { status, out: stdout, err: stderr }
}

describe('sotto audit canaries over a run of real processes', () => {
  const stage = new Stage()
  let run: Run
  let log: string[]
  let secret: string
  beforeAll(async () => {
    const data = join(stage.folder, 'mail.jsonl')
    writeFileSync(
      data,
      records('north', 20)
        .map((line) => `${JSON.stringify(line)}\n`)
        .join(''),
    )
    const made = join(stage.folder, 'made-up.jsonl')
    secret = join(stage.folder, 'canaries.json')
    const files = ['--count', '60', '--output', made, '--secret', secret]
    const told = sotto('audit', 'canaries', 'plant', data, ...files, '--json')
    expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
    expect(JSON.parse(told.out).data).toMatchObject({ canaries: 60, output: made, secret })
    expect(statSync(secret).mode & 0o777).toBe(0o600)
    expect(sotto('audit', 'canaries', 'plant', data, ...files).status, 'no file is written over').toBe(2)

    await stage.startCoordinator()
    const lines = readFileSync(made, 'utf8').trimEnd().split('\n')
    await stage.addSite('made-up', {
      records: lines.map((line) => JSON.parse(line)),
      budget: { epsilon: 100, delta: 1e-5 },
    })
    stage.startWorker('made-up')
    const { id } = await stage.submit({
      rounds: 4,
      directions: 8,
      datasets: ['made-up'],
      budget: { epsilon: 20, delta: 1e-5 },
    })
    run = await stage.finish(id)
    const headers = { Authorization: `Bearer ${stage.adminToken}` }
    const identity = (await (await fetch(`${stage.url}/v1/log`, { headers })).json()) as { publicKey: string }
    log = ['--from', join(stage.folder, 'coordinator/objects'), '--key', identity.publicKey]
  })
  afterAll(() => stage.close())

  it('prints what the guesses refute beside what the charges allow', () => {
    expect(run.state).toBe('completed')
    const asked = [run.id, ...log, '--dataset', 'made-up', '--model', MODEL, '--secret', secret]
    const told = sotto('audit', 'canaries', 'score', ...asked, '--json')
    expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
    const answer = JSON.parse(told.out).data
    expect(answer).toMatchObject({
      holds: true,
      canaries: 60,
      guesses: 30,
      confidence: 0.95,
      upper: run.spent[0]!.epsilon,
    })
    expect(answer.lower).toBeLessThanOrEqual(answer.upper)
    const words = sotto('audit', 'canaries', 'score', ...asked, '--guesses', '60')
    expect(words.out).toMatch(
      /60 guessed at[\s\S]*at least[\s\S]*from the guesses[\s\S]*at most[\s\S]*from the charges/,
    )
  })

  it.each([
    ['a dataset that the run has not', ['--dataset', 'other'], 'has no dataset other'],
    ['more guesses than canaries', ['--guesses', '61'], '--guesses is 60 at most'],
    ['a confidence that is none', ['--confidence', '1'], 'between 0.5 and 1'],
    ['a folder that is no model', ['--model', '/nowhere'], '/nowhere'],
    [
      'a folder of another model',
      ['--model', join(ROOT, 'test/models/build')],
      'is not the model that the run trained',
    ],
    ['a file that "plant" did not write', ['--secret', MODEL], 'cannot be read'],
  ])('refuses %s', (_, change, said) => {
    const usual: Record<string, string> = { '--dataset': 'made-up', '--model': MODEL, '--secret': secret }
    const merged = { ...usual, [change[0]!]: change[1]! }
    const ended = sotto('audit', 'canaries', 'score', run.id, ...log, ...Object.entries(merged).flat())
    expect([ended.status, ended.err]).toEqual([2, expect.stringContaining(said)])
    expect(existsSync(secret)).toBe(true)
  })
})
