import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RunError } from './failure.ts'
import { chance, jsonLine, roundedDown, roundedUp, table, writeResult } from './output.ts'

const sizes = fc.double({ min: 1e-300, max: 1e15, noNaN: true })

describe('bounds in print', () => {
  test('property: rounding never turns a bound into a false statement, and costs less than 1e-5', () => {
    fc.assert(
      fc.property(sizes, (value) => {
        expect(Number(roundedUp(value))).toBeGreaterThanOrEqual(value)
        expect(Number(roundedDown(value))).toBeLessThanOrEqual(value)
        expect(Number(roundedUp(value)) / value - 1).toBeLessThan(1e-5)
        expect(1 - Number(roundedDown(value)) / value).toBeLessThan(1e-5)
      }),
    )
  })

  test.each([
    [1.2345601, '1.23457', '1.23456'],
    [1e-8, '1e-8', '1e-8'],
    [0, '0', '0'],
    [Number.POSITIVE_INFINITY, 'infinite', 'infinite'],
  ])('%d is %s from above and %s from below', (value, up, down) => {
    expect([roundedUp(value), roundedDown(value)]).toEqual([up, down])
  })

  test.each([
    [1e-5, '1e-5'],
    [2.5e-7, '2.5e-7'],
    [0.01, '0.01'],
  ])('the chance %d is %s', (value, expected) => expect(chance(value)).toBe(expected))
})

test('an infinite epsilon is null in JSON, on one line', () => {
  expect(jsonLine({ epsilon: Number.POSITIVE_INFINITY, rdp: 2 })).toBe('{"epsilon":null,"rdp":2}\n')
})

test('a table lines its columns up', () => {
  const rows = [
    ['epsilon', '1', 'upper'],
    ['rdp', '12.5', 'looser'],
  ] as const
  expect(table(rows)).toBe('  epsilon  1     upper\n  rdp      12.5  looser\n')
})

test('a result goes into a file; one that cannot be written is a failure that names it', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'sotto-cli-')), 'out.json')
  writeResult('x\n', file)
  expect(readFileSync(file, 'utf8')).toBe('x\n')
  const missing = join(file, 'not-a-folder')
  expect(() => writeResult('x', missing)).toThrow(RunError)
  expect(() => writeResult('x', missing)).toThrow(missing)
})
