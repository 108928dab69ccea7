import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { ACTORS, gather } from './generate.ts'

it.each(ACTORS)('the gathered migrations of the %s actor are those of its SQL files', (actor) => {
  const path = new URL(`../${actor}/migrations.gen.ts`, import.meta.url)
  expect(readFileSync(path, 'utf8')).toBe(gather(actor))
})
