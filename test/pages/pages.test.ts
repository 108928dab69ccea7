import { spawnSync } from 'node:child_process'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { lower, short, upper } from '../../coordinator/web/browser/figures.ts'
import { ROOT } from '../e2e/harness.ts'
import { Hosts, PLACES, type StagedHost } from '../rehearsal/host.ts'
import { seriousFaults } from './axe.ts'
import { hasBrowser, launch, noBrowser, openPage } from './browser.ts'
import { stageRun, workOff } from './live.ts'

const ROUNDS = 24
const REST_MS = 150
/** Whatever is polled for. */
const WAIT = { timeout: 30_000, interval: 100 }
const MOST_BYTES = 250 * 1024

describe.each(PLACES)('the pages on %s', (on) => {
  const hosts = new Hosts()
  let stage: StagedHost
  let browser: Browser
  let run: string
  let staged: Awaited<ReturnType<typeof stageRun>>
  let auditor: string
  beforeAll(async () => {
    stage = await hosts.start({ on })
    if (!hasBrowser) return
    browser = await launch()
    staged = await stageRun(stage, ROUNDS)
    run = staged.run
    auditor = (await stage.admin.post('/v1/tokens', { scope: 'auditor' })).body.token
  })
  afterAll(async () => {
    await browser?.close()
    await hosts.clear()
  })

  it('are frames without anybody\u2019s data, whose policy lets nothing in that is not served here', async () => {
    for (const path of ['/runs', '/runs/any', '/runs/any/privacy', '/datasets/any', '/runs/any/ledger', '/plan']) {
      const response = await fetch(stage.host.url + path)
      const policy = response.headers.get('Content-Security-Policy')!
      expect(policy).toContain("default-src 'none'")
      expect(policy).not.toMatch(/unsafe|\*|https?:|data:/)
      expect(response.headers.get('X-Content-Type-Options')).toBe('nosniff')
      const text = await response.text()
      expect(text).not.toMatch(/<script(?![^>]* src="\/assets\/)|<style| style=| on[a-z]+=|https?:\/\//)
      for (const [, asset] of text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)) {
        const { status, headers } = await fetch(stage.host.url + asset)
        expect([status, headers.get('X-Content-Type-Options')]).toEqual([200, 'nosniff'])
        expect(headers.get('Content-Security-Policy')).toBe(policy)
        // Cloudflare compresses what a Worker answers.
        if (on === 'node') expect(headers.get('Content-Encoding')).toBe('gzip')
        if (asset !== '/assets/icon.svg') expect(headers.get('Cache-Control')).toContain('immutable')
      }
    }
    for (const method of ['GET', 'POST']) {
      const { status, headers } = await fetch(`${stage.host.url}/assets/nothing.js`, { method })
      expect([status, headers.get('Content-Type')]).toEqual([404, 'application/problem+json'])
    }
    expect((await fetch(`${stage.host.url}/`, { redirect: 'manual' })).headers.get('Location')).toBe('/runs')
  })

  describe.skipIf(!hasBrowser)(`in Chromium${noBrowser}`, () => {
    const open = async (path: string, given: { width?: number; dark?: boolean; token?: string } = {}) => {
      const { width = 1280, dark = false, token = stage.host.adminToken } = given
      const opened = await openPage(browser, { width, dark })
      await opened.page.goto(`${stage.host.url}${path}#token=${token}`)
      return opened
    }
    let working: Promise<unknown> | undefined
    /** Works the run off, once. */
    const finish = () => (working ??= Promise.all(staged.workers.map((worker) => workOff(worker, run, REST_MS))))
    const figure = (page: Page, name: string) => page.locator(`[data-figure="${name}"]`).first().textContent()
    const facts = async () => (await stage.admin.get(`/v1/runs/${run}`)).body

    it('show a run as it goes, without being loaded again, and its figures are those of the API', async () => {
      const { page, faults } = await open(`/runs/${run}`)
      await page.getByText('of 24').first().waitFor()
      const worked = finish()
      // Live: rounds close while the page is open.
      const closed = () => page.locator('.strip .closed').count()
      await expect.poll(closed, WAIT).toBeGreaterThanOrEqual(2)
      await page.getByText('round 1 closed').waitFor()
      expect((await facts()).state).toBe('running')
      await worked
      await page.locator('.state.completed').waitFor()
      await expect.poll(closed, WAIT).toBe(ROUNDS)
      const told = await facts()
      expect(told.state).toBe('completed')
      expect(await figure(page, 'epsilon')).toBe(upper(Math.max(...told.spent.map(({ epsilon }: never) => epsilon))))
      expect(await figure(page, 'loss')).toBe(short(told.privateLoss))
      const { correct, records } = told.evaluation
      await page
        .getByText(`${((100 * correct) / records).toFixed(1)} %`)
        .first()
        .waitFor()
      for (const { id } of staged.workers) await page.getByRole('rowheader', { name: id }).waitFor()
      expect(faults).toEqual([])
      await page.close()
    })

    it('show an auditor a whole run', async () => {
      await finish()
      const { page, faults } = await open(`/runs/${run}`, { token: auditor })
      for (const { id } of staged.workers) await page.getByRole('rowheader', { name: id }).waitFor()
      await page.getByRole('heading', { name: 'Stages' }).waitFor()
      expect(faults).toEqual([])
      await page.close()
    })

    it('say of privacy what the API says, and what the accountant makes of it', async () => {
      await finish()
      const { page, faults } = await open(`/runs/${run}/privacy`)
      const told = (await facts()).spent[0]
      await page.getByText(`of 4`).first().waitFor()
      expect(await figure(page, 'epsilon')).toBe(upper(told.epsilon))
      // Made in the page, of the schedule and the charges alone.
      await page
        .getByText(/^at least/)
        .first()
        .waitFor()
      await page.getByText('The accountant is at work').waitFor({ state: 'detached' })
      await page.getByText('As a table').click()
      const row = page.locator('figure tbody tr').last()
      expect(await row.getByRole('cell').first().textContent()).toBe(upper(told.epsilon))
      expect(faults).toEqual([])
      await page.close()
    })

    /** What `sotto audit run --json` says of the same store. */
    const audited = async () => {
      const { publicKey } = (await stage.admin.get('/v1/log')).body
      const { endpoint, bucket, accessKeyId, secretAccessKey } = inject('s3')
      const keys = {
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        SOTTO_S3_ENDPOINT: endpoint,
      }
      const from = on === 'node' ? join(stage.dataDir, 'objects') : `s3://${bucket}/${basename(stage.dataDir)}`
      const { name } = (await stage.admin.get('/v1/log')).body
      const args = ['audit', 'run', run, '--from', from, '--key', publicKey, '--name', name, '--json']
      const { stdout } = spawnSync(process.execPath, [join(ROOT, 'cli/sotto.mjs'), ...args], {
        encoding: 'utf8',
        env: { ...process.env, ...keys },
      })
      const { data, error } = JSON.parse(stdout)
      return data ?? error
    }

    it('verify a run as sotto audit does', async () => {
      await finish()
      const { page, faults } = await open(`/runs/${run}/ledger`, { token: auditor })
      await page.getByRole('button', { name: 'Verify' }).click()
      await page.locator('[data-verdict]').waitFor()
      expect(await page.locator('[data-verdict]').getAttribute('data-verdict')).toBe('holds')
      const answer = await audited()
      expect(answer.holds).toBe(true)
      expect(await figure(page, 'state')).toBe(answer.stateHash)
      await page.getByText(answer.checkpoint.root).waitFor()
      for (const { dataset, epsilon, lower: least } of answer.spent) {
        expect(await page.locator(`[data-audited="${dataset}"]`).textContent()).toBe(upper(epsilon))
        await page
          .getByRole('cell', { name: lower(least), exact: true })
          .first()
          .waitFor()
      }
      // Another key than the log's.
      await page.getByLabel('Key that the log is signed with').fill(`${'A'.repeat(43)}=`)
      await page.getByRole('button', { name: 'Verify' }).click()
      await page.locator('.verdict.bad').waitFor()
      expect(await page.locator('[data-verdict]').getAttribute('data-verdict')).toBe('unsigned')
      // What could not be verified is not said to be false.
      await page.getByLabel('Key that the log is signed with').fill('no key')
      await page.getByRole('button', { name: 'Verify' }).click()
      await page.locator('.verdict.unknown[data-verdict="not_a_key"]').waitFor()
      expect(faults).toEqual([])
      await page.close()
    })

    it('verify a dataset, and say what is still affordable', async () => {
      await finish()
      const { page, faults } = await open('/datasets/north', { token: auditor })
      await page.getByRole('button', { name: 'Verify' }).click()
      await page.locator('[data-verdict="holds"]').waitFor()
      const { body } = await stage.admin.get('/v1/datasets/north')
      expect(await figure(page, 'epsilon')).toBe(upper(body.spent.epsilon))
      await page.getByText(`${ROUNDS} charges: epsilon`).waitFor()
      const asked = await stage.admin.get('/v1/datasets/north/affordable?noiseMultiplier=2&samplingRate=0.05')
      await page.getByLabel('Noise multiplier').fill('2')
      await page.getByText(`${new Intl.NumberFormat('en').format(asked.body.rounds)} rounds of a Gaussian`).waitFor()
      expect(faults).toEqual([])
      await page.close()
    })

    it('plan as the coordinator plans', async () => {
      await finish()
      const { page, faults } = await open('/plan')
      await page.getByLabel('Like the run').selectOption(run)
      await page.getByText('As a run file').click()
      for (const rounds of ['120', '700']) {
        await page.getByLabel('Rounds, as a number').fill(rounds)
        await page.getByLabel('Rounds, as a number').press('Enter')
        await expect
          .poll(async () => JSON.parse((await figure(page, 'request'))!).stages[0].rounds, WAIT)
          .toBe(Number(rounds))
        await page.locator('[aria-busy="false"] [data-figure="sigma"]').waitFor()
        const request = JSON.parse((await figure(page, 'request'))!)
        const { status, body } = await stage.admin.post('/v1/runs/plan', request)
        expect(status, JSON.stringify(body)).toBe(200)
        expect(await figure(page, 'sigma')).toBe(String(body.stages[0].noiseMultiplier))
        expect(await figure(page, 'epsilon')).toBe(upper(body.epsilon))
        expect(await figure(page, 'passes')).toBe(new Intl.NumberFormat('en').format(Math.round(body.forwardPasses)))
      }
      // By the keyboard: less epsilon wants more noise.
      const before = Number(await figure(page, 'sigma'))
      await page.getByLabel('Epsilon', { exact: true }).press('PageDown')
      await expect.poll(async () => Number(await figure(page, 'sigma')), WAIT).toBeGreaterThan(1.05 * before)
      expect(faults).toEqual([])
      await page.close()
    })

    it('ask nothing but by ids, and take a token from a link in any tab', async () => {
      const { page } = await openPage(browser, { width: 1280, dark: false })
      const asked: string[] = []
      page.on('request', (request) => asked.push(new URL(request.url()).pathname))
      await page.goto(`${stage.host.url}/runs`)
      await page.getByLabel('Token').waitFor()
      await page.evaluate(`location.hash = 'token=${auditor}'`)
      await page.getByRole('heading', { name: 'Runs' }).waitFor()
      expect(page.url()).not.toContain('token')
      for (const path of ['/runs/..%2Fdatasets%2Fnorth', '/runs/%E0%A4%A', '/datasets/%2e%2e%2fruns']) {
        await page.goto(stage.host.url + path)
        await page.getByRole('alert').first().waitFor()
      }
      const known = /^\/v1\/(runs|runs\/unknown|runs\/unknown\/curves|runs\/run-[0-9a-f]+|datasets\/unknown)$/
      expect(asked.filter((path) => path.startsWith('/v1/') && !known.test(path))).toEqual([])
      await page.close()
    })

    it('compare runs, from the list', async () => {
      await finish()
      const other = (await stage.admin.post('/v1/runs', { ...staged.request, budget: { epsilon: 2, delta: 1e-5 } }))
        .body.id
      await stage.admin.post(`/v1/runs/${other}/cancel`)
      const { page, faults } = await open('/runs')
      await page.getByLabel(`Compare ${run}`).check()
      expect(await page.getByRole('button', { name: 'Compare' }).isDisabled()).toBe(true)
      await page.getByLabel(`Compare ${other}`).check()
      await page.getByRole('button', { name: 'Compare 2' }).click()
      await page.getByText('Private loss, mean of 16').waitFor()
      expect(await page.locator('tr.differs').getByRole('rowheader', { name: 'Budget' }).count()).toBe(1)
      expect(faults).toEqual([])
      await page.close()
    })

    it('show nothing to those without a token, and say why to those with a wrong one', async () => {
      await finish()
      const { page } = await openPage(browser, { width: 1280, dark: false })
      await page.goto(`${stage.host.url}/runs/${run}`)
      await page.getByLabel('Token').fill('sotto_wrong')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('alert').getByText('does not know this token').waitFor()
      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.getByLabel('Token').fill(auditor)
      await page.keyboard.press('Enter')
      await page.getByText('completed').first().waitFor()
      // Not in the address, nor in a cookie, nor where another tab finds it.
      const kept = await page.evaluate<string>('location.href + document.cookie + JSON.stringify({ ...localStorage })')
      expect(kept).not.toContain(auditor)
      await page.close()
    })

    it.each([
      [1280, false],
      [400, true],
    ])('are whole and accessible, %i pixels wide, dark: %s, and light to load', async (width, dark) => {
      await finish()
      const { page, faults } = await openPage(browser, { width, dark })
      const loading: Promise<number>[] = []
      page.on('response', (response) => {
        if (!response.url().includes('/v1/'))
          loading.push(
            response.body().then(
              (body) => gzipSync(body).length,
              () => 0,
            ),
          )
      })
      const places = [
        '/runs',
        `/runs/${run}`,
        `/runs/${run}/privacy`,
        `/runs/${run}/ledger`,
        `/runs/compare?runs=${run}`,
        '/datasets',
        '/datasets/north',
        '/plan',
      ]
      for (const path of places) {
        loading.length = 0
        // Nothing from the cache: what a first visit weighs.
        await page.context().clearCookies()
        await page.goto('about:blank')
        await page.goto(`${stage.host.url}${path}#token=${stage.host.adminToken}`)
        await page.locator('main h1').waitFor()
        await page.waitForLoadState('networkidle')
        if (path.includes('ledger')) {
          await page.getByRole('button', { name: 'Verify' }).click()
          await page.locator('[data-verdict]').waitFor()
        }
        await page.locator('[role="status"]:has-text("Asking")').waitFor({ state: 'detached' })
        expect(await page.evaluate('document.documentElement.scrollWidth'), path).toBeLessThanOrEqual(width)
        expect(await seriousFaults(page), path).toEqual([])
        const weight = (await Promise.all(loading)).reduce((sum, each) => sum + each, 0)
        expect(weight, path).toBeLessThanOrEqual(MOST_BYTES)
      }
      expect(faults).toEqual([])
      await page.close()
    })

    it('find what was tampered with, as sotto audit does', async () => {
      await finish()
      const key = `runs/${run}/log/00000001.jsonl`
      const objects = await hosts.storeOf(stage, on)
      const before = (await objects.fetch(key))!
      const bytes = before.slice()
      bytes[bytes.length - 20]! ^= 1
      await objects.replace(key, bytes)
      try {
        const { page } = await open(`/runs/${run}/ledger`)
        await page.getByRole('button', { name: 'Verify' }).click()
        await page.locator('.verdict.bad').waitFor()
        const answer = await audited()
        expect(answer.code).toBeTruthy()
        expect(await page.locator('[data-verdict]').getAttribute('data-verdict')).toBe(answer.code)
        await page.close()
      } finally {
        await objects.replace(key, before)
      }
    })
  })
})
