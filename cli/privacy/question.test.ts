import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { PrivacyError } from '../../shared/privacy/error.ts'
import { InputError } from '../failure.ts'
import { answerEach, documentOf, flagName, readQuestions, type ScheduleFlags } from './question.ts'
import { SCHEDULE } from './schedule.ts'

const flags = { noiseMultiplier: 1, samplingRate: 0.01, rounds: 100, delta: 1e-5 }
const { delta, ...stage } = flags
const schedule = { stages: [stage], delta }
const complete = { stages: [{ mechanism: 'gaussian', ...stage }], delta, neighbours: 'add-remove' }

const fileWith = (document: unknown) => {
  const file = join(mkdtempSync(join(tmpdir(), 'sotto-cli-')), 'question.json')
  writeFileSync(file, JSON.stringify(document))
  return file
}
const ask = (file: string | undefined, given: ScheduleFlags = {}) => readQuestions(SCHEDULE, { file, flags: given })

describe('readQuestions', () => {
  test('flags and the file that says the same give the same question', async () => {
    expect(await ask(undefined, flags)).toEqual({ list: [complete], several: false })
    expect(await ask(fileWith(schedule))).toEqual({ list: [complete], several: false })
  })

  test('a list is answered by a list, however short', async () => {
    expect(await ask(fileWith([schedule]))).toEqual({ list: [complete], several: true })
    expect(await ask(fileWith([]))).toEqual({ list: [], several: true })
  })

  test('flags at fault are named as flags, file entries by their path', async () => {
    await expect(ask(undefined, { ...flags, samplingRate: 2 })).rejects.toThrow(/^--sampling-rate must be at most 1$/)
    await expect(ask(undefined, stage)).rejects.toThrow(/^--delta is missing$/)
    const broken = { ...schedule, stages: [stage, { ...stage, samplingRate: 2 }] }
    await expect(ask(fileWith([schedule, broken]))).rejects.toThrow(
      /^\[1\]\.stages\[1\]\.samplingRate must be at most 1$/,
    )
  })

  test('a file and a flag together are refused', async () => {
    await expect(ask(fileWith(schedule), { delta: 1e-6 })).rejects.toThrow(/^--delta cannot go with --file/)
  })
})

test('the document of the flags leaves out what was not given', () => {
  expect(documentOf({ rounds: 3, targetEpsilon: 2 })).toEqual({ stages: [{ rounds: 3 }], targetEpsilon: 2 })
  expect(flagName(['stages', 0, 'noiseMultiplier'])).toBe('--noise-multiplier')
})

describe('answerEach', () => {
  const refuse = (question: number) => {
    if (question === 2) throw new PrivacyError('invalid_stages', 'too much')
    return question * 10
  }

  test('answers in order', () => {
    expect(answerEach({ list: [3, 1], several: true }, refuse)).toEqual([30, 10])
  })

  test('a refusal of the accountant keeps its message, with its place in a list', () => {
    expect(() => answerEach({ list: [1, 2], several: true }, refuse)).toThrow(
      new InputError('[1]: too much', 'invalid_stages'),
    )
    expect(() => answerEach({ list: [2], several: false }, refuse)).toThrow(PrivacyError)
  })
})
