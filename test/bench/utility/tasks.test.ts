import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Example, readRows, SHOTS, splitTask } from './tasks.ts'

/** The folder of the tasks, where there is one. */
const DATA = process.env.SOTTO_DATA

const textsOf = (rows: readonly Example[]) => new Set(rows.map(({ text }) => text))

function folderOf(task: string, files: Readonly<Record<string, readonly string[]>>): string {
  const data = mkdtempSync(join(tmpdir(), 'sotto-tasks-'))
  mkdirSync(join(data, task))
  for (const [name, rows] of Object.entries(files))
    writeFileSync(join(data, task, name), `text\tlabel\n${rows.join('\n')}\n`)
  return data
}

const rows = (count: number, name: string) => Array.from({ length: count }, (_, at) => `${name} ${at}\t${at % 2}`)

describe('a split', () => {
  it('takes no text of dev or test to train on', () => {
    const data = folderOf('sst2', {
      'train.tsv': [...rows(20, 'a'), 'held\t1', 'seen\t0'],
      'dev.tsv': ['held\t1'],
      'test.tsv': ['seen\t0'],
    })
    const { train, dev, test } = splitTask(data, 'sst2')
    expect(train).toHaveLength(20)
    expect([...textsOf(dev), ...textsOf(test)]).toEqual(['held', 'seen'])
  })

  it('sets rows apart where the task has no files for them, the same whatever their order', () => {
    const lines = rows(5000, 'b')
    const { train, dev, test } = splitTask(folderOf('subj', { 'all.tsv': lines }), 'subj')
    expect([dev.length, test.length]).toEqual([1000, 2000])
    expect(new Set([...textsOf(train), ...textsOf(dev), ...textsOf(test)]).size).toBe(train.length + 3000)
    const again = splitTask(folderOf('subj', { 'all.tsv': lines.toReversed() }), 'subj')
    expect(textsOf(again.test)).toEqual(textsOf(test))
    for (const label of ['0', '1']) expect(train.filter((row) => row.label === label).length).toBeLessThanOrEqual(SHOTS)
  })
})

describe.skipIf(DATA === undefined || !existsSync(DATA))('the public tasks (SOTTO_DATA)', () => {
  it.each(['sst2', 'trec6', 'subj', 'sst5'] as const)('%s has rows of its labels alone', (name) => {
    const { labels, train, dev, test } = splitTask(DATA!, name)
    for (const part of [train, dev, test]) {
      expect(part.length).toBeGreaterThan(100)
      expect(part.every(({ label }) => labels.includes(label))).toBe(true)
    }
    const held = new Set([...textsOf(dev), ...textsOf(test)])
    expect(train.some(({ text }) => held.has(text))).toBe(false)
  })

  it('has texts with tabs before the label', () => {
    expect(readRows(join(DATA!, 'sst2', 'dev.tsv'))[0]!.label).toMatch(/^\d$/)
  })
})
