import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { generate } from './build.ts'

it('what the pages load is built of the sources beside it: npm run pages', async () => {
  const built = readFileSync(new URL('assets.gen.ts', import.meta.url), 'utf8')
  // Compared as one truth value: a difference of a megabyte would be printed whole.
  expect((await generate()) === built).toBe(true)
})
