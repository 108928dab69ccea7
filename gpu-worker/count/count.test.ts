import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { epsilonBounds } from '../../shared/privacy/index.ts'
import { type CountQuestion, countPrivately } from './index.ts'

const LINES = 400
function dataFile(): string {
  const file = join(mkdtempSync(join(tmpdir(), 'sotto-count-')), 'mail.jsonl')
  const lines = Array.from({ length: LINES }, (_, i) => ({ text: `t${i}`, label: 'ham', user: `u${i % 40}` }))
  writeFileSync(file, lines.map((line) => JSON.stringify(line)).join('\n'))
  return file
}
const question: CountQuestion = { epsilon: 8, delta: 1e-5, share: 0.05, unit: 'record' }

describe('a private count of a file', () => {
  it('costs its share of the budget and no more, and is near the number of units', async () => {
    const answer = await countPrivately(dataFile(), question)
    const { noiseMultiplier } = answer.count
    expect(answer).toMatchObject({ unit: 'record', budget: { epsilon: 8, delta: 1e-5 } })
    expect(Math.abs(answer.units - LINES)).toBeLessThan(7 * noiseMultiplier)
    const event = { mechanism: 'gaussian', samplingRate: 1, neighbours: 'add-remove' } as const
    const cost = (noise: number) => epsilonBounds([{ event: { ...event, noiseMultiplier: noise }, count: 1 }], 1e-5)
    expect(answer.epsilon).toBe(cost(noiseMultiplier).epsilon)
    expect(answer.epsilon).toBeLessThanOrEqual(0.05 * 8)
    expect(cost(0.998 * noiseMultiplier).lower).toBeGreaterThan(0.05 * 8 * 0.99)
  })

  it('counts users where these are the units', async () => {
    const { units, count } = await countPrivately(dataFile(), { ...question, epsilon: 1000, share: 0.5, unit: 'user' })
    expect(Math.abs(units - 40)).toBeLessThan(7 * count.noiseMultiplier + 1)
  })

  it('is drawn once: asked again it is the same, and asked otherwise it is refused', async () => {
    const file = dataFile()
    const first = await countPrivately(file, question)
    for (let i = 0; i < 5; i++) expect(await countPrivately(file, question)).toEqual(first)
    await expect(countPrivately(file, { ...question, share: 0.04 })).rejects.toMatchObject({ code: 'counted_before' })
  })

  it('is one count however many processes count at once', async () => {
    const file = dataFile()
    const answers = await Promise.all(Array.from({ length: 8 }, () => countPrivately(file, question)))
    expect(new Set(answers.map(({ units }) => units)).size).toBe(1)
    expect(readdirSync(join(file, '..', '.sotto', 'counts'))).toHaveLength(1)
  })

  it('keeps nothing where the data can not be read', async () => {
    const file = dataFile()
    writeFileSync(file, '{"text":"x"')
    await expect(countPrivately(file, question)).rejects.toMatchObject({ code: 'malformed_json' })
    expect(() => readdirSync(join(file, '..', '.sotto'))).toThrow()
  })
})
