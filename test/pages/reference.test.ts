import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Hosts, PLACES, type StagedHost } from '../rehearsal/host.ts'
import { seriousFaults } from './axe.ts'
import { hasBrowser, launch, noBrowser, openPage } from './browser.ts'

describe.each(PLACES)('the reference page on %s', (on) => {
  const hosts = new Hosts()
  let stage: StagedHost
  let browser: Browser
  beforeAll(async () => {
    stage = await hosts.start({ on })
    if (hasBrowser) browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await hosts.clear()
  })

  it('has every operation and every schema of the document, and no link that leads nowhere', async () => {
    const { body: document } = await stage.admin.get('/openapi.json')
    const { status, body: page, headers } = await stage.admin.get('/docs')
    expect(status).toBe(200)
    expect(headers.get('Content-Security-Policy')).toContain("default-src 'none'")
    expect(page).not.toMatch(/<script|style="|https?:\/\//)
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [path, item] of Object.entries<object>(document.paths)) {
      for (const method of Object.keys(item))
        expect(ids).toContain(`${method}${path.replaceAll(/[{}]/g, '').replaceAll('/', '-')}`)
    }
    expect(ids).toEqual(expect.arrayContaining(Object.keys(document.components.schemas)))
    const links = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id)
    expect(links.filter((link) => !ids.includes(link))).toEqual([])
    expect(links.length).toBeGreaterThan(100)
  })

  describe.skipIf(!hasBrowser)(`in Chromium${noBrowser}`, () => {
    it.each([
      [1280, false],
      [400, true],
    ])('loads whole and is accessible, %i pixels wide, dark: %s', async (width, dark) => {
      const { page, faults } = await openPage(browser, { width, dark })
      await page.goto(`${stage.host.url}/docs`)
      await page.getByRole('link', { name: 'POST /v1/runs/plan' }).click()
      expect(new URL(page.url()).hash).toBe('#post-v1-runs-plan')
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
      expect(await seriousFaults(page)).toEqual([])
      expect(faults).toEqual([])
      await page.close()
    })
  })
})
