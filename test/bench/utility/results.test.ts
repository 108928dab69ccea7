import { appendFileSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { appendResult, type Cell, type FinishedCell, keyOf, missing, readResults } from './results.ts'

const cell = (seed: number): Cell => ({
  ...{ task: 'sst2', method: 'sotto', epsilon: 2, seed, split: 'test' },
  setting: { learningRate: 0.1, clip: 0.5 },
})
const finished = (seed: number): FinishedCell => ({
  ...cell(seed),
  ...{ accuracy: 0.75, spent: 1.99, noiseMultiplier: 2, rounds: 10, passes: 100, seconds: 1 },
})
const file = () => join(mkdtempSync(join(tmpdir(), 'sotto-results-')), 'results.json')

describe('the results file', () => {
  it('leaves to do what is not in it', () => {
    const path = file()
    expect(readResults(path)).toEqual([])
    appendResult(path, finished(1))
    expect(missing([cell(1), cell(2)], readResults(path))).toEqual([cell(2)])
    appendResult(path, finished(2))
    expect(readResults(path)).toEqual([finished(1), finished(2)])
  })

  it('loses at most the cell that a kill cut short, and goes on behind it', () => {
    const path = file()
    appendResult(path, finished(1))
    appendFileSync(path, JSON.stringify(finished(2)).slice(0, 40))
    expect(missing([cell(1), cell(2)], readResults(path))).toEqual([cell(2)])
    appendResult(path, finished(2))
    expect(readResults(path)).toEqual([finished(1), finished(2)])
    expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(4)
  })

  it('knows a cell by what it is, not by the order of its fields', () => {
    expect(keyOf({ ...cell(1), setting: { clip: 0.5, learningRate: 0.1 } })).toBe(keyOf(cell(1)))
    expect(keyOf({ ...cell(1), setting: { clip: 0.5, learningRate: 0.2 } })).not.toBe(keyOf(cell(1)))
    expect(keyOf({ ...cell(1), split: 'dev' })).not.toBe(keyOf(cell(1)))
    expect(keyOf({ ...cell(1), directions: 'published' })).not.toBe(keyOf(cell(1)))
  })
})
