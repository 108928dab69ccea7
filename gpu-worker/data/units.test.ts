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
    expect(units.flat().map(({ text }) => text?.slice(0, 1))).toEqual(['a', 'b'])
  })

  it('takes any label where none are given', async () => {
    const units = await readUnits(fileOf(line('a', 'other')), { unit: 'record', labels: null })
    expect(units).toHaveLength(1)
  })

  it('reads a file of many lines', async () => {
    const path = fileOf(Array.from({ length: 20_000 }, (_, i) => line(`text ${i}`.repeat(10))).join('\n'))
    expect(await readUnits(path, records)).toHaveLength(20_000)
  })

  it('reads each form, and of a line that has several each', async () => {
    const completion = { prompt: 'p', completion: 'c' }
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'a' },
    ]
    const text = { text: 't', label: 'ham' }
    const lines = [
      completion,
      { messages },
      { ...text, ...completion, label: 'ham', note: 1 },
      { ...text, prompt: 'p' },
    ]
    const path = fileOf(lines.map((each) => JSON.stringify(each)).join('\n'))
    const units = await readUnits(path, records)
    expect(units).toEqual([[completion], [{ messages }], [{ ...text, ...completion }], [text]])
  })

  it('makes a unit of all lines of one user in every form', async () => {
    const completion = (user: string) => JSON.stringify({ prompt: 'p', completion: 'c', user })
    const units = await readUnits(fileOf([completion('u'), completion('v'), completion('u')].join('\n')), users)
    expect(units.map((lines) => lines.length)).toEqual([2, 1])
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

  const conversation = (...messages: unknown[]) => JSON.stringify({ messages, user: 'u' })
  const ask = { role: 'user', content: SENTINEL }
  const answer = { role: 'assistant', content: SENTINEL }
  it.each([
    ['missing_field', 'label', JSON.stringify({ text: SENTINEL }), null],
    ['missing_field', 'text', JSON.stringify({ [SENTINEL]: 1 }), null],
    ['missing_field', 'text', `{"__proto__":{"text":"${SENTINEL}","label":"ham"}}`, null],
    ['missing_field', 'completion', JSON.stringify({ prompt: SENTINEL }), null],
    ['missing_field', 'prompt', JSON.stringify({ completion: SENTINEL }), null],
    ['missing_field', 'prompt', line(SENTINEL), 'completion'],
    ['missing_field', 'rejected', JSON.stringify({ prompt: SENTINEL, chosen: SENTINEL }), null],
    ['missing_field', 'chosen', JSON.stringify({ prompt: SENTINEL, rejected: SENTINEL, [SENTINEL]: 1 }), null],
    ['missing_field', 'chosen', JSON.stringify({ prompt: SENTINEL, completion: SENTINEL }), 'preference'],
    ['missing_field', 'text', JSON.stringify({ prompt: SENTINEL, completion: 'c' }), 'text'],
    ['missing_field', 'messages', conversation(), null],
    ['missing_field', 'messages', JSON.stringify({ messages: SENTINEL }), null],
    ['missing_field', 'messages', line(SENTINEL), 'messages'],
    ['missing_field', 'messages[1].content', conversation(ask, { role: 'assistant' }), null],
    ['missing_field', 'messages[0].content', conversation({ role: 'user', content: [SENTINEL] }, answer), null],
    ['missing_field', 'messages[0].role', conversation({ role: '', content: SENTINEL }, answer), null],
    ['unsupported_field', 'messages[0]', conversation({ ...ask, [SENTINEL]: SENTINEL }, answer), null],
    ['last_not_assistant', 'messages', conversation(ask, answer, ask), null],
    ['unknown_label', 'label', line(SENTINEL, SENTINEL), null],
    ['missing_user', 'user', line(SENTINEL), null],
  ] as const)('refuses with %s at %s and says nothing of the line', async (code, field, bad, form) => {
    const first = form === null ? `${good}\n` : ''
    const error = await failure(fileOf(`${first}${bad}\n`), { ...(code === 'missing_user' ? users : records), form })
    expect({ code: error.code, line: error.line, field: error.field }).toEqual({ code, line: first ? 2 : 1, field })
    expect(error.message).toContain(`: ${code} (${field})`)
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
