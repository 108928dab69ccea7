import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

const folder = new URL('./', import.meta.url)
const sources = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
const codeOf = (name: string) =>
  readFileSync(new URL(name, folder), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\/\/.*$/gm, '')

describe.each(sources)('%s', (name) => {
  test('imports only its neighbours, and reaches for no clock, generator or host', () => {
    const code = codeOf(name)
    for (const [, from] of code.matchAll(/from '([^']+)'/g)) expect(from).toMatch(/^\.\/[a-z]+\.ts$/)
    expect(code).not.toMatch(/Math\.random|\bDate\b|\bcrypto\b|\bperformance\b|\bprocess\b|globalThis|console|import\(/)
  })
})

test('no floating-point function takes part in the samplers', () => {
  for (const name of ['normal.ts', 'randomness.ts']) expect(codeOf(name)).not.toMatch(/Math\./)
  // One floor, of a power-of-two multiple of the rate: exact.
  expect(codeOf('sampling.ts').replaceAll('Math.floor(rest)', '')).not.toMatch(/Math\./)
})
