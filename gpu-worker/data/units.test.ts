import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { DataError, readUnits, type UnitOptions } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'sotto-data-'))
let files = 0

function fileOf(content: string): string {
  const path = join(folder, `mail-${files++}.jsonl`)
  writeFileSync(path, content)
  return path
}

const line = (text: string, label = 'ham', user?: string): string => JSON.stringify({ text, label, user })
const records: UnitOptions = { unit: 'record', labels: ['ham', 'spam'] }
const users: UnitOptions = { unit: 'user', labels: ['ham', 'spam'] }

/** Stands for private content in every field; no error may repeat it. */
const SENTINEL = 'PRIVATE-8f1c'

async function failure(path: string, options: UnitOptions): Promise<DataError> {
  const error = await readUnits(path, options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(DataError)
  return error as DataError
}

describe('readUnits', () => {
  it('makes a unit of each line', async () => {
    const units = await readUnits(fileOf(`${line('a')}\n${line('b', 'spam')}\n`), records)
    expect(units).toEqual([[{ text: 'a', label: 'ham' }], [{ text: 'b', label: 'spam' }]])
  })

  it('makes a unit of all lines of one user, wherever they stand', async () => {
    const path = fileOf([line('a', 'ham', 'u'), line('b', 'ham', 'v'), line('c', 'spam', 'u')].join('\n'))
    const units = await readUnits(path, users)
    expect(units.map((lines) => lines.map(({ text }) => text))).toEqual([['a', 'c'], ['b']])
  })

  it('tells a user named like a number from a count', async () => {
    const units = await readUnits(fileOf([line('a', 'ham', '0'), line('b', 'ham', '1')].join('\n')), users)
    expect(units).toHaveLength(2)
  })

  it.each([
    ['a byte order mark', `\uFEFF${line('a')}\n${line('b')}\n`],
    ['CRLF', `${line('a')}\r\n${line('b')}\r\n`],
    ['no last line end', `${line('a')}\n${line('b')}`],
    ['a blank last line', `${line('a')}\n${line('b')}\n\n`],
    ['a line separator inside a text', `${line('a')}\n${line('b\u2028')}\n`],
  ])('takes %s', async (_, content) => {
    const units = await readUnits(fileOf(content), records)
    expect(units.flat().map(({ text }) => text.slice(0, 1))).toEqual(['a', 'b'])
  })

  it('takes any label where none are given', async () => {
    const units = await readUnits(fileOf(line('a', 'other')), { unit: 'record', labels: null })
    expect(units).toHaveLength(1)
  })

  it('reads a file of many lines', async () => {
    const path = fileOf(Array.from({ length: 20_000 }, (_, i) => line(`text ${i}`.repeat(10))).join('\n'))
    expect(await readUnits(path, records)).toHaveLength(20_000)
  })

  const good = line('fine', 'ham', 'u')
  it.each([
    ['malformed_json', 2, `{"text":"${SENTINEL}`, records],
    ['malformed_json', 2, `{"text":"${SENTINEL}"} ${SENTINEL}`, records],
    ['malformed_json', 2, `["${SENTINEL}"]`, records],
    ['malformed_json', 2, `"${SENTINEL}"`, records],
    ['malformed_json', 2, 'null', records],
    ['malformed_json', 2, `\n${good}`, records],
    ['missing_field', 2, JSON.stringify({ text: SENTINEL }), records],
    ['missing_field', 2, JSON.stringify({ label: 'ham', body: SENTINEL }), records],
    ['missing_field', 2, JSON.stringify({ text: 7, label: 'ham', note: SENTINEL }), records],
    ['unknown_label', 2, line(SENTINEL, SENTINEL), records],
    ['missing_user', 2, line(SENTINEL), users],
    ['missing_user', 2, line(SENTINEL, 'ham', ''), users],
  ] as const)('refuses with %s on line %i and says nothing of it', async (code, number, bad, options) => {
    const error = await failure(fileOf(`${good}\n${bad}\n${good}\n`), options)
    expect({ code: error.code, line: error.line }).toEqual({ code, line: number })
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain(SENTINEL)
  })

  it.each([
    ['an empty file', ''],
    ['only blank lines', '\n'],
    ['only a byte order mark', '\uFEFF'],
  ])('refuses %s', async (_, content) => {
    expect((await failure(fileOf(content), records)).code).toBe('empty_file')
  })

  it('refuses a file that is not there, and a folder', async () => {
    expect((await failure(join(folder, 'absent.jsonl'), records)).code).toBe('no_file')
    expect((await failure(folder, records)).code).toBe('no_file')
  })
})
