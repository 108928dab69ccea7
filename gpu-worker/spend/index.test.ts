import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gaussianEvent, RdpFilter } from '../../shared/privacy/index.ts'
import { lifetimeOf, openSpend } from './index.ts'

const event = gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.1 })
const budget = { epsilon: 4, delta: 1e-5 }
const lease = (n: number) => ({ id: `run-1-r${n}-d0-a0`, run: 'run-1', event })
const code = (value: string) => expect.objectContaining({ code: value })

describe('the spend record of a site', () => {
  let folder: string
  const path = () => join(folder, 'spend.jsonl')
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-spend-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('admits as many releases as the budget pays for, over restarts, and each lease once', () => {
    const affordable = new RdpFilter(budget, []).affordable(event)
    expect(affordable).toBeGreaterThan(5)
    for (let n = 0; n < affordable; n++) {
      const spend = openSpend(folder)
      spend.admit(lease(n), budget)
      spend.admit(lease(n), budget)
    }
    const spend = openSpend(folder)
    expect(spend.history()).toEqual([{ event, count: affordable }])
    const before = readFileSync(path(), 'utf8')
    expect(() => spend.admit(lease(affordable), budget)).toThrow(code('lifetime_spent'))
    expect(readFileSync(path(), 'utf8')).toBe(before)
    // What was evaluated before may be evaluated again: nothing of it was sent.
    spend.admit(lease(0), budget)
  })

  it('drops a line that a crash cut off, and goes on', () => {
    const spend = openSpend(folder)
    spend.admit(lease(0), budget)
    const whole = readFileSync(path(), 'utf8')
    appendFileSync(path(), whole.slice(0, 40))
    const after = openSpend(folder)
    expect(after.history()).toEqual([{ event, count: 1 }])
    after.admit(lease(1), budget)
    expect(openSpend(folder).history()).toEqual([{ event, count: 2 }])
  })

  it('is refused where a line is gone, added, doubled or changed', () => {
    const spend = openSpend(folder)
    for (let n = 0; n < 3; n++) spend.admit(lease(n), budget)
    const lines = readFileSync(path(), 'utf8').split('\n').slice(0, -1)
    const spoilt = [
      lines.slice(1),
      [lines[0], lines[2]],
      [...lines, lines[2]],
      lines.with(1, lines[1]!.replace('0.1', '0.01')),
      lines.with(1, lines[1]!.replace('{', '{ ')),
      lines.with(1, 'x'),
    ]
    for (const each of spoilt) {
      writeFileSync(path(), `${each.join('\n')}\n`)
      expect(() => openSpend(folder)).toThrow(code('spend_record_broken'))
    }
    writeFileSync(path(), `${lines.join('\n')}\n`)
    expect(openSpend(folder).history()).toEqual([{ event, count: 3 }])
  })

  it('keeps to the budget that the dataset had at first, unless the owner says otherwise', () => {
    expect(lifetimeOf(folder, { budget }, {})).toEqual(budget)
    const raised = { budget: { epsilon: 100, delta: 1e-2 } }
    expect(lifetimeOf(folder, raised, {})).toEqual(budget)
    expect(lifetimeOf(folder, raised, { epsilon: 6 })).toEqual({ epsilon: 6, delta: 1e-5 })
    expect(lifetimeOf(folder, raised, { epsilon: 1, delta: 1e-6 })).toEqual({ epsilon: 1, delta: 1e-6 })
  })
})
