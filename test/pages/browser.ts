import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'

/** Where Debian installs it. */
const CHROMIUM = '/usr/bin/chromium'
export const hasBrowser = existsSync(CHROMIUM)
/** Said beside the name of a test that is skipped. */
export const noBrowser = hasBrowser ? '' : ` (skipped: ${CHROMIUM} is not installed)`

/** Nothing but the page: no sandbox (a container has none to offer), no GPU, no traffic of its own. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const launch = (): Promise<Browser> => chromium.launch({ executablePath: CHROMIUM, args: FLAGS })

/** A page with everything that goes wrong on it: failed requests, errors, what the console says. */
export async function openPage(
  browser: Browser,
  settings: { width: number; dark: boolean },
): Promise<{ page: Page; faults: string[] }> {
  const page = await browser.newPage({
    viewport: { width: settings.width, height: 900 },
    colorScheme: settings.dark ? 'dark' : 'light',
  })
  const faults: string[] = []
  page.on('requestfailed', (request) => {
    // A stream of events ends with the page that listens to it.
    const isLeft = request.failure()?.errorText === 'net::ERR_ABORTED' && request.url().endsWith('/events')
    if (!isLeft) faults.push(`failed: ${request.url()}`)
  })
  page.on('response', (response) => {
    if (response.status() >= 400) faults.push(`${response.status()}: ${response.url()}`)
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) faults.push(message.text())
  })
  return { page, faults }
}
