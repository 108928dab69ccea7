/**
 * Makes the pictures of the documentation: `npm run screenshots`. The mailboxes of the examples are trained by real workers, and
 * their pages shown in Chromium, wide and narrow, light and dark.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { freePort } from '../../cli/dev/processes.ts'
import { ROOT, startProcess, waitUntil } from '../e2e/harness.ts'
import { Client } from '../rehearsal/client.ts'
import { launch } from './browser.ts'

const LOOKS = [
  { width: 1280, dark: false },
  { width: 1280, dark: true },
  { width: 400, dark: false },
  { width: 400, dark: true },
] as const
/** Of the run's 250: enough to see where it goes, and that it goes on. */
const ROUNDS_SEEN = 150

/** Shows a page in every look, once it shows what it is about. */
async function shoot(
  browser: Browser,
  at: { url: string; token: string; name: string },
  isShown: (page: Page) => Promise<void>,
) {
  for (const { width, dark } of LOOKS) {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: dark ? 'dark' : 'light' })
    await page.goto(`${at.url}#token=${at.token}`)
    await isShown(page)
    const path = join(ROOT, `docs/images/${at.name}-${width}-${dark ? 'dark' : 'light'}.png`)
    await page.screenshot({ path, fullPage: true })
    console.log(path)
    await page.close()
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-screenshots-'))
  const port = await freePort()
  const dev = startProcess('cli/sotto.mjs', ['dev', '--port', String(port), '--dir', folder])
  const browser = await launch()
  try {
    await waitUntil('sotto dev', () => dev.output().includes('Ready at'), 120)
    const url = `http://127.0.0.1:${port}`
    const token = readFileSync(join(folder, 'coordinator/admin-token'), 'utf8').trim()
    const sotto = startProcess('cli/sotto.mjs', ['run', 'create', '-f', 'examples/mailboxes/run.yaml', '--json'], {
      SOTTO_COORDINATOR: url,
      SOTTO_TOKEN: token,
    })
    if ((await sotto.exited) !== 0) throw new Error(sotto.output())
    const client = new Client(url, token)
    const { id } = (await client.get('/v1/runs')).body.items[0]
    const roundsOf = async () => (await client.get(`/v1/runs/${id}`)).body.round as number
    await waitUntil('the rounds', async () => (await roundsOf()) >= ROUNDS_SEEN, 300)
    await shoot(browser, { url: `${url}/runs/${id}`, token, name: 'run' }, async (page) => {
      await page.locator('.plot canvas').nth(1).waitFor()
      await page.locator('section[aria-label="Workers"]').first().waitFor()
    })
    await shoot(browser, { url: `${url}/runs/${id}/privacy`, token, name: 'privacy' }, async (page) => {
      await page.locator('.plot canvas').waitFor()
      await page.getByText('The accountant is at work').waitFor({ state: 'detached', timeout: 60_000 })
    })
    await shoot(browser, { url: `${url}/plan`, token, name: 'plan' }, async (page) => {
      await page.getByLabel('Like the run').selectOption(id)
      await page.locator('[aria-busy="false"] .plot canvas').waitFor()
    })
  } finally {
    await browser.close()
    dev.child.kill('SIGTERM')
    await dev.exited
    rmSync(folder, { recursive: true, force: true })
  }
}

await main()
