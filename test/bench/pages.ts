import { gzipSync } from 'node:zlib'
import type { Browser, Page } from 'playwright-core'
import { hasBrowser, launch } from '../pages/browser.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../rehearsal/request.ts'
import { FakeWorker, setStage } from '../rehearsal/worker.ts'
import { answerAll, SameReports, startCoordinator } from './load.ts'
import { median } from './median.ts'

const ROUNDS = 10_000
const LOADS = 5
const PLACES = ['', '/privacy', '/ledger'] as const

type Coordinator = Awaited<ReturnType<typeof startCoordinator>>

/** A finished run of many rounds. */
async function longRun({ admin }: Coordinator): Promise<string> {
  const model = await setStage(admin, {
    datasets: [{ id: 'north', epsilon: 100 }],
    files: SMALL_FILES,
    manifest: manifestOf(SMALL_FILES),
  })
  const stage = { rounds: ROUNDS, learningRate: 0.1, radius: 0.01, directions: 4, clip: 1, samplingRate: 0.01 }
  const worker = await FakeWorker.enrol(admin, 'north')
  const { body: run } = await admin.post('/v1/runs', {
    ...smallRequest({ model, datasets: ['north'] }),
    stages: [stage],
  })
  await answerAll(worker, new SameReports(run.spec))
  return run.id
}

interface Load {
  readonly firstPaintMs: number
  readonly shownMs: number
  readonly gzipBytes: number
}

/** One load with nothing in any cache. `shownMs` is until what the page is about stands there. */
async function load(browser: Browser, url: string, shown: string): Promise<Load & { page: Page }> {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage()
  const weights: Promise<number>[] = []
  page.on('response', (response) => {
    if (!response.url().includes('/v1/'))
      weights.push(
        response.body().then(
          (body) => gzipSync(body).length,
          () => 0,
        ),
      )
  })
  const started = performance.now()
  await page.goto(url)
  await page.locator(shown).first().waitFor()
  const shownMs = performance.now() - started
  const paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
  const firstPaintMs = await page.evaluate<number>(paint)
  const gzipBytes = (await Promise.all(weights)).reduce((sum, each) => sum + each, 0)
  return { page, firstPaintMs, shownMs, gzipBytes }
}

/** Frames while somebody scrolls up and down, moves over the charts, and zooms in and out. @returns milliseconds between frames */
async function framesOf(page: Page): Promise<number[]> {
  await page.evaluate(`(() => {
    const frames = (globalThis.frames_ = [])
    let last = performance.now()
    const tick = (now) => { frames.push(now - last); last = now; requestAnimationFrame(tick) }
    requestAnimationFrame(tick)
  })()`)
  const box = (await page.locator('.plot').first().boundingBox())!
  for (let step = 0; step < 60; step++) await page.mouse.wheel(0, step < 30 ? 60 : -60)
  for (let step = 0; step < 60; step++) await page.mouse.move(box.x + (step * box.width) / 60, box.y + box.height / 2)
  for (const [from, to] of [
    [0.3, 0.6],
    [0.4, 0.5],
  ] as const) {
    await page.mouse.move(box.x + from * box.width, box.y + 80)
    await page.mouse.down()
    await page.mouse.move(box.x + to * box.width, box.y + 80, { steps: 12 })
    await page.mouse.up()
    await page.waitForTimeout(200)
  }
  await page.mouse.dblclick(box.x + box.width / 2, box.y + 80)
  await page.waitForTimeout(500)
  return (await page.evaluate<number[]>('globalThis.frames_')).slice(1)
}

/** Milliseconds that the page takes to download the log and audit it. */
async function verified(browser: Browser, url: string): Promise<number> {
  const { page } = await load(browser, url, '.records li')
  const started = performance.now()
  await page.getByRole('button', { name: 'Verify' }).click()
  await page.locator('[data-verdict]').waitFor({ timeout: 600_000 })
  const verdict = await page.locator('[data-verdict]').getAttribute('data-verdict')
  if (verdict !== 'holds') throw new Error(`the audit says ${verdict}`)
  return performance.now() - started
}

/** What the pages of a run of 10,000 rounds weigh, how soon they are there, and how smoothly they move. */
export async function pages({ json }: { json: boolean }): Promise<void> {
  if (!hasBrowser) throw new Error('Chromium is not installed: apt-get install chromium')
  const coordinator = await startCoordinator()
  const browser = await launch()
  try {
    const run = await longRun(coordinator)
    const place = `${coordinator.url}/runs/${run}`
    const figures: Record<string, number> = {}
    for (const path of PLACES) {
      const loads: Load[] = []
      for (let n = 0; n < LOADS; n++) {
        const shown = path === '' ? '.plot canvas' : path === '/privacy' ? '[data-figure="epsilon"]' : '.records li'
        const { page, ...measured } = await load(browser, `${place}${path}#token=${coordinator.admin.token}`, shown)
        loads.push(measured)
        await page.context().close()
      }
      const name = path === '' ? 'run' : path.slice(1)
      figures[`${name} gzip KiB`] = Math.round(loads[0]!.gzipBytes / 1024)
      figures[`${name} first paint ms`] = Math.round(median(loads.map(({ firstPaintMs }) => firstPaintMs)))
      figures[`${name} shown ms`] = Math.round(median(loads.map(({ shownMs }) => shownMs)))
    }
    const { page } = await load(browser, `${place}#token=${coordinator.admin.token}`, '.plot canvas')
    await page.waitForLoadState('networkidle')
    const frames = await framesOf(page)
    figures.frames = frames.length
    figures['frame p50 ms'] = Math.round(median(frames))
    figures['longest frame ms'] = Math.round(Math.max(...frames))
    figures['verify ms'] = Math.round(await verified(browser, `${place}/ledger#token=${coordinator.admin.token}`))
    for (const [name, value] of Object.entries(figures)) console.log(`${name}: ${value}`)
    if (json) console.log(JSON.stringify(figures))
  } finally {
    await browser.close()
    await coordinator.close()
  }
}
