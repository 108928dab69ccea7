import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunSpec } from '../../shared/api/index.ts'
import { MODEL, records, request } from '../../test/e2e/harness.ts'
import { cipherStream } from '../../test/privacy/fixed-stream.ts'
import { auditLog } from '../../test/rehearsal/audit.ts'
import { Theatre } from '../../test/rehearsal/theatre.ts'
import { inspectModel } from '../engine/index.ts'
import { composeRelease } from '../release.ts'
import { openTrainingSite } from '../site-engine.ts'
import { type Canaries, lowerBoundOf, plantCanaries, rightGuesses, type Scored, scoreCanaries } from './index.ts'
import { Regression } from './regression.ts'

const CANARIES = 24
const ROUNDS = 6
let folder: string
let data: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-canaries-'))
  data = join(folder, 'mail.jsonl')
  writeFileSync(
    data,
    records('north', 8)
      .map((line) => `${JSON.stringify(line)}\n`)
      .join(''),
  )
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('a copy with canaries', () => {
  it('has all lines of the data in their order where it is wanted, and each canary by the toss of a coin', () => {
    const { copy, canaries } = plantCanaries(data, CANARIES, { withData: true })
    const lines = copy.trimEnd().split('\n')
    const isOwn = (line: string) => !canaries.lines.includes(line)
    expect(lines.filter(isOwn)).toEqual(records('north', 8).map((line) => JSON.stringify(line)))
    const planted = canaries.lines.filter((_, index) => canaries.planted[index])
    expect(new Set(lines.filter((line) => !isOwn(line)))).toEqual(new Set(planted))
    expect(new Set(canaries.lines).size).toBe(CANARIES)
    // Six deviations of a fair coin.
    expect(Math.abs(planted.length - CANARIES / 2)).toBeLessThan(6 * Math.sqrt(CANARIES / 4))
    for (const line of canaries.lines) expect(Object.keys(JSON.parse(line))).toEqual(['text', 'label', 'user'])
    const alone = plantCanaries(data, CANARIES)
    expect(alone.canaries.lines).not.toEqual(canaries.lines)
    expect(alone.copy.split('\n').filter((line) => line !== '' && !alone.canaries.lines.includes(line))).toEqual([])
  })

  it.each([
    ['prompt', { prompt: 'a', completion: 'b' }, ['prompt', 'completion', 'user']],
    ['messages', { messages: [{ role: 'user', content: 'a' }] }, ['messages', 'user']],
  ])('is made of lines with %s too', (_, line, keys) => {
    const file = join(folder, 'other.jsonl')
    writeFileSync(file, `${JSON.stringify(line)}\n`)
    const { canaries } = plantCanaries(file, 3)
    for (const made of canaries.lines) expect(Object.keys(JSON.parse(made))).toEqual(keys)
  })

  it('is refused where the data are of no known form, and says nothing of them', () => {
    const file = join(folder, 'odd.jsonl')
    for (const [text, code] of [
      ['{"question":"secret"}', 'missing_field'],
      ['secret', 'malformed_json'],
      ['', 'empty_file'],
    ] as const) {
      writeFileSync(file, text)
      expect(() => plantCanaries(file, 3)).toThrow(expect.objectContaining({ code }))
      expect(() => plantCanaries(file, 3)).not.toThrow(/secret/)
    }
    expect(() => plantCanaries(join(folder, 'none'), 3)).toThrow(expect.objectContaining({ code: 'no_file' }))
  })
})

/** A run over the copy by a worker whose noise is `scale` times what it says. */
async function runOver(canaries: Canaries, copy: string, scale: number) {
  const theatre = new Theatre()
  await theatre.addDataset('copy', 100)
  const asked = await request('a'.repeat(64), { rounds: ROUNDS, directions: 64 })
  const [stage] = asked.stages!
  await theatre.begin({
    task: asked.task,
    space: { kind: 'lora', rank: 2, sites: (await inspectModel(MODEL)).sites.map((site) => ({ ...site, scale: 1 })) },
    stages: [{ ...stage!, samplingRate: 1, lossShare: 0 }],
    budget: { epsilon: 1, delta: 1e-5 },
  })
  const { spec } = (await theatre.run.describe())!
  const file = join(folder, `copy-${scale}.jsonl`)
  writeFileSync(file, copy)
  const settings = {
    data: file,
    unit: 'record',
    labels: null,
    threads: 1,
    device: 'cpu',
    log: () => undefined,
  } as const
  const site = await openTrainingSite(spec, MODEL, settings)
  const worker = await theatre.player('w', 'copy')
  const random = cipherStream(scale === 1 ? 1 : 2)
  for (let round = 0; round < ROUNDS; round++) {
    const lease = (await theatre.run.takeLease(worker))!
    const { signature: _, ...unsigned } = await theatre.roundReportFor(worker, lease)
    const point = await stateOf(theatre, spec)
    const used = { ...spec.stages[0]!, noiseMultiplier: spec.stages[0]!.noiseMultiplier * scale }
    const base = { method: spec, round, state: point, units: site.units, oracle: site, random }
    const integers = await composeRelease({ ...base, stage: used })
    await theatre.run.report(worker, lease.id, await worker.signer.sign({ ...unsigned, integers }))
    await theatre.run.idle()
  }
  await site.close()
  const log = theatre.log().records
  const scored = await scoreCanaries({
    canaries,
    records: log,
    dataset: 'copy',
    modelDir: MODEL,
    threads: 1,
    onRound: () => undefined,
  })
  return { scored, upper: auditLog(log).epsilon.copy! }
}

async function stateOf(theatre: Theatre, spec: RunSpec) {
  const { replay } = await import('../../shared/zo/index.ts')
  return replay(
    spec,
    theatre.log().records.filter((record) => record.type === 'close'),
  ).state
}

const boundOf = (scored: readonly Scored[]) =>
  lowerBoundOf(scored, { guesses: CANARIES, delta: 1e-5, confidence: 0.95 })

describe('the regression', () => {
  it('finds the coins where the noise is small, and says one half where nothing can be seen', () => {
    const coins = [1, 0, 0, 1, 1]
    const estimateAt = (deviation: number) => {
      const regression = new Regression(coins.length)
      const added = coins.map((_, i) =>
        Float64Array.from({ length: 12 }, (_, k) => Math.sin((1 + i) * (k + 1) * (k + 2)) / deviation),
      )
      const sums = Float64Array.from({ length: 12 }, (_, k) =>
        added.reduce((sum, row, i) => sum + coins[i]! * row[k]!, 0),
      )
      regression.add(added, sums)
      return [...regression.estimate()]
    }
    for (const [i, estimate] of estimateAt(1e-4).entries()) expect(estimate).toBeCloseTo(coins[i]!, 5)
    for (const estimate of estimateAt(1e4)) expect(estimate).toBeCloseTo(0.5, 5)
  })
})

/** As many in as out: half of the guesses are "in", so that another split makes guesses wrong that no attack could make right. */
function evenlyPlanted(): ReturnType<typeof plantCanaries> {
  for (;;) {
    const made = plantCanaries(data, CANARIES)
    if (made.canaries.planted.filter(Boolean).length === CANARIES / 2) return made
  }
}

describe('an attack by canaries', () => {
  it('stays below what was charged where the noise is what it says, and far beyond where it is not', async () => {
    const { copy, canaries } = evenlyPlanted()
    const honest = await runOver(canaries, copy, 1)
    expect(honest.upper).toBeLessThanOrEqual(1)
    expect(boundOf(honest.scored).lower).toBeLessThanOrEqual(honest.upper)
    const cheating = await runOver(canaries, copy, 1e-5)
    expect(cheating.upper).toBe(honest.upper)
    const { lower, correct } = boundOf(cheating.scored)
    expect(correct).toBeGreaterThanOrEqual(CANARIES - 1)
    expect(lower).toBeGreaterThan(cheating.upper)
    expect(Math.max(...rightGuesses(cheating.scored, CANARIES))).toBe(correct)
  })
})
