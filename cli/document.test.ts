import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { checkDocument, pathName, readDocument } from './document.ts'
import { InputError } from './failure.ts'

const SCHEMA = z.strictObject({
  stages: z.array(z.strictObject({ rounds: z.int().min(0), rate: z.number().gt(0).lt(1) })),
  kind: z.enum(['a', 'b']).default('a'),
})

const faultOf = (document: unknown, at: number[] = []) => {
  try {
    checkDocument(SCHEMA, document, {}, at)
  } catch (error) {
    expect(error).toBeInstanceOf(InputError)
    return (error as Error).message.split('\nsotto: ')
  }
  return []
}

describe('checkDocument', () => {
  test('returns the document with its defaults', () => {
    const document = { stages: [{ rounds: 1, rate: 0.5 }] }
    expect(checkDocument(SCHEMA, document)).toEqual({ ...document, kind: 'a' })
  })

  test.each([
    [{ stages: [{ rounds: 1, rate: 0.5 }, { rounds: 1 }] }, 'stages[1].rate is missing'],
    [{ stages: [{ rounds: 1.5, rate: 0.5 }] }, 'stages[0].rounds must be a whole number'],
    [{ stages: [{ rounds: -1, rate: 0.5 }] }, 'stages[0].rounds must be at least 0'],
    [{ stages: [{ rounds: 1, rate: 0 }] }, 'stages[0].rate must be above 0'],
    [{ stages: [{ rounds: 1, rate: 1 }] }, 'stages[0].rate must be below 1'],
    [{ stages: [{ rounds: 1, rate: '0.5' }] }, 'stages[0].rate must be a finite number'],
    [{ stages: [{ rounds: 1, rate: JSON.parse('1e999') }] }, 'stages[0].rate must be a finite number'],
    [{ stages: [{ rounds: null, rate: 0.5 }] }, 'stages[0].rounds must be a finite number'],
    [{ stages: [{ rounds: 1, rate: 0.5, sigma: 1 }] }, 'stages[0].sigma is no known field'],
    [{ stages: {} }, 'stages must be a list'],
    [{ stages: [7] }, 'stages[0] must be an object'],
    [{ stages: [], kind: 'c' }, 'kind must be a or b'],
    [{}, 'stages is missing'],
    [null, 'the document must be an object'],
    [[], 'the document must be an object'],
  ])('%j: %s', (document, expected) => expect(faultOf(document)).toEqual([expected]))

  test('says where in a list the document stands, and every fault', () => {
    expect(faultOf({ stages: [{}], more: 1 }, [3])).toEqual([
      '[3].stages[0].rounds is missing',
      '[3].stages[0].rate is missing',
      '[3].more is no known field',
    ])
  })

  test('never repeats a value', () => {
    const secret = 'hunter2'
    const texts = [faultOf({ stages: secret }), faultOf({ stages: [], kind: secret }), faultOf(secret)].flat()
    expect(texts).toHaveLength(3)
    expect(texts.filter((text) => text.includes(secret))).toEqual([])
  })
})

test.each([
  [[], ''],
  [['stages', 2, 'samplingRate'], 'stages[2].samplingRate'],
  [[3, 'delta'], '[3].delta'],
])('the path %j reads %s', (path, expected) => expect(pathName(path)).toBe(expected))

describe('readDocument', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-cli-'))
  const fileWith = (content: string) => {
    const file = join(folder, 'document.json')
    writeFileSync(file, content)
    return file
  }

  test('reads a file, with or without a byte order mark', async () => {
    expect(await readDocument(fileWith('{"a": 1}'))).toEqual({ a: 1 })
    expect(await readDocument(fileWith('\uFEFF[1]'))).toEqual([1])
  })

  test('names a file that is no JSON, and the place where that is known, but not what stands there', async () => {
    const refusal = expect(readDocument(fileWith('{"hunter2": 1,\n "b" 2}'))).rejects
    await refusal.toThrow(/document\.json is not JSON \(line 2 column \d+\)$/)
    await expect(readDocument(fileWith(''))).rejects.toThrow(/is not JSON$/)
  })

  test('names a file that is not there', async () => {
    await expect(readDocument(join(folder, 'none.json'))).rejects.toThrow(/none\.json cannot be read: ENOENT/)
  })
})
