import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { scheduleOf } from './operations.ts'
import { shrink, simulate, simulateSeed } from './simulate.ts'
import type { Sabotage } from './world.ts'

const MAIN = new URL('./main.ts', import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), 'sotto-simulation-'))
afterAll(() => rmSync(folder, { recursive: true }))

const sim = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', MAIN, ...args],
    {
      encoding: 'utf8',
    },
  )
  return { status, out: stdout, err: stderr }
}

describe('the simulation', () => {
  it('holds for 200 seeds', async () => {
    for (let seed = 1; seed <= 200; seed++) expect(await simulateSeed(seed)).toBeNull()
  }, 300_000)

  it('makes the same schedule of a seed, and another of another', () => {
    expect(scheduleOf(7)).toEqual(scheduleOf(7))
    expect(scheduleOf(7)).not.toEqual(scheduleOf(8))
    const kinds = new Set(Array.from({ length: 50 }, (_, seed) => scheduleOf(seed).map(({ op }) => op)).flat())
    expect(kinds.size).toBe(19)
  })

  it.each<[Sabotage, RegExp]>([
    ['uncharged', /charged dataset .* times, of which its log shows|has another epsilon|counts otherwise/],
    ['unstored', /counts records that are not in the bucket|without a charge|did not end|truncated/],
    ['unkept', /was accepted and is not in the log|two reports of lease/],
  ])('finds a coordinator whose part lies: %s', async (sabotage, said) => {
    for (let seed = 1; seed <= 60; seed++) {
      const failure = await simulateSeed(seed, { sabotage })
      if (!failure) continue
      expect(failure.message).toMatch(said)
      const least = await shrink(failure, { sabotage })
      expect(least.schedule.length).toBeLessThan(15)
      expect(await simulate(least.schedule, { seed, sabotage })).toEqual(least)
      return
    }
    expect.unreachable('no seed found it')
  })

  it('is a command, and works a written schedule off again', () => {
    const told = sim('--seeds', '3', '--from', '5', '--json')
    expect(told.status).toBe(0)
    expect(JSON.parse(told.out)).toMatchObject({ from: 5, seeds: 3, failed: null })
    const file = join(folder, 'seed-5.json')
    writeFileSync(file, JSON.stringify({ seed: 5, schedule: scheduleOf(5) }))
    expect(sim('--repro', file)).toMatchObject({ status: 0, out: 'it holds\n' })
    // What no part may throw: an operation that there is none of.
    writeFileSync(file, JSON.stringify({ seed: 5, schedule: [{ op: 'open', run: 0, size: 'x' }] }))
    expect(sim('--repro', file)).toMatchObject({ status: 1, out: expect.stringContaining('operation 0 of 1') })
    expect(sim('--seeds', 'many')).toMatchObject({ status: 2 })
    expect(sim('--help').out).toContain('--repro FILE')
  })
})
