import { beforeAll, describe, expect, it } from 'vitest'
import { hasBrowser, noBrowser } from '../pages/browser.ts'
import { type Answers, bundle, inChromium, inNode, inWorkerd } from '../tooling/runtimes.ts'
import { answers, ROUNDS } from './long-replay.ts'

describe(`a run of ${ROUNDS} rounds replays to the same bytes`, () => {
  let code: string
  let reference: Answers
  beforeAll(async () => {
    code = await bundle(new URL('./long-replay.ts', import.meta.url))
    reference = inNode(code)
  })

  it('in this process, bundled and not', () => {
    expect(new Set(Object.values(reference)).size).toBe(5)
    expect(answers()).toEqual(reference)
  })

  it('in workerd', async () => {
    expect(await inWorkerd(code)).toEqual(reference)
  })

  it.skipIf(!hasBrowser)(`in headless Chromium${noBrowser}`, async () => {
    expect(await inChromium(code)).toEqual(reference)
  })
})
