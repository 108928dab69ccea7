import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

const folder = new URL('./', import.meta.url)
const sources = readdirSync(folder, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
const codeOf = (name: string) =>
  readFileSync(new URL(name, folder), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\/\/.*$/gm, '')

describe.each(sources)('%s', (name) => {
  test('imports only its neighbours, and reaches for no clock, generator or host', () => {
    const code = codeOf(name)
    for (const [, from] of code.matchAll(/from '([^']+)'/g)) expect(from).toMatch(/^\.{1,2}\/([a-z]+\/)?[a-z]+\.ts$/)
    expect(code).not.toMatch(/Math\.random|\bDate\b|\bcrypto\b|\bperformance\b|\bprocess\b|globalThis|console|import\(/)
  })
})

test('no floating-point function takes part in the samplers', () => {
  for (const name of ['normal.ts', 'laplace.ts', 'randomness.ts']) expect(codeOf(name)).not.toMatch(/Math\./)
  // One floor, of a power-of-two multiple of the rate: exact.
  expect(codeOf('sampling.ts').replaceAll('Math.floor(rest)', '')).not.toMatch(/Math\./)
})

test('accounting uses no function whose last bit is up to the engine', () => {
  const exact = /Math\.(?:sqrt|abs|floor|ceil|round|trunc|min|max|sign|fround|imul|clz32)\b/g
  for (const name of sources) expect(codeOf(name).replaceAll(exact, ''), name).not.toMatch(/Math\./)
})
