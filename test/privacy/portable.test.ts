/** A data owner's browser, a Worker and this process must agree on what was spent: to the last bit, not nearly. */
import { beforeAll, describe, expect, test } from 'vitest'
import { hasBrowser, noBrowser } from '../pages/browser.ts'
import { type Answers, bundle, inChromium, inNode, inWorkerd } from '../tooling/runtimes.ts'
import { answers } from './portable-questions.ts'

const browserTest = `headless Chromium${noBrowser}`

describe('the accountant gives the same bits', () => {
  let code: string
  let reference: Answers
  beforeAll(async () => {
    code = await bundle(new URL('./portable-questions.ts', import.meta.url))
    reference = inNode(code)
  })

  test('in this process, bundled and not', () => {
    expect(answers()).toEqual(reference)
  })

  test('in workerd', async () => {
    expect(await inWorkerd(code)).toEqual(reference)
  })

  test.skipIf(!hasBrowser)(browserTest, async () => {
    expect(await inChromium(code)).toEqual(reference)
  })
})
