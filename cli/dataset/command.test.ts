import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { datasetRequestSchema } from '../../shared/api/index.ts'

const ENTRY = fileURLToPath(new URL('../sotto.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'sotto-cli-'))
const sotto = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [ENTRY, 'dataset', 'count', ...args], {
    encoding: 'utf8',
  })
  return { status, out: stdout, err: stderr }
}
const file = join(folder, 'mail.jsonl')
writeFileSync(file, Array.from({ length: 300 }, (_, i) => JSON.stringify({ text: `t${i}`, label: 'x' })).join('\n'))

describe('sotto dataset count', () => {
  test('answers in JSON what a registration takes, the same again', () => {
    const { status, out, err } = sotto(file, '--epsilon', '8', '--json')
    expect({ status, err }).toEqual({ status: 0, err: '' })
    const { epsilon, ...answer } = JSON.parse(out).data
    expect(Object.keys(answer).sort()).toEqual(['budget', 'count', 'unit', 'units'])
    expect(datasetRequestSchema.parse({ id: 'north', ...answer })).toMatchObject(answer)
    expect(epsilon).toBeLessThanOrEqual(0.4)
    expect(sotto(file, '--epsilon', '8', '--json').out).toBe(sotto(file, '--epsilon', '8', '--json').out)
    const words = sotto(file, '--epsilon', '8')
    expect(words.out).toContain(`${answer.units} records, more or less`)
    expect(words.out).toContain(JSON.stringify(answer.count))
  })

  test.each([
    ['a second count of the same data', [file, '--epsilon', '4'], /counted before/],
    ['no budget', [file], /--epsilon/],
    ['a share of nothing', [file, '--epsilon', '8', '--share', '0'], /--share/],
    ['a file that is not there', [join(folder, 'none.jsonl'), '--epsilon', '8'], /no_file/],
  ])('refuses %s', (_, args, words) => {
    const { status, err } = sotto(...args)
    expect(status).toBe(2)
    expect(err).toMatch(words)
  })

  test('says how it is used, with an example', () => {
    const { status, out } = sotto('--help')
    expect(status).toBe(0)
    expect(out).toContain('sotto dataset count mail.jsonl --epsilon 8')
  })
})
