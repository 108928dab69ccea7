import { Hono } from 'hono'
import { problemResponse } from '../api/fault.ts'
import { ASSETS, PAGES, type PageName } from './assets.gen.ts'
import { pageOf } from './page.ts'

/** Scripts, style and data of this coordinator alone, and no text that becomes a script. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types sotto',
].join('; ')

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
}

/** Which page answers at a path. */
const PLACES: readonly (readonly [path: string, page: PageName])[] = [
  ['/runs', 'runs'],
  ['/runs/compare', 'compare'],
  ['/runs/:id', 'run'],
  ['/runs/:id/privacy', 'privacy'],
  ['/runs/:id/ledger', 'ledger'],
  ['/datasets', 'datasets'],
  ['/datasets/:id', 'dataset'],
  ['/plan', 'plan'],
]

/** An asset's name has the hash of its bytes; only the icon's has not. */
const FOREVER = 'public, max-age=31536000, immutable'

/** The pages people look at, and what they load. They have nothing of anybody: what they show is asked of the API. */
export function webRoutes(): Hono {
  const web = new Hono()
  web.get('/', (c) => c.redirect('/runs'))
  for (const [path, page] of PLACES) web.get(path, (c) => c.html(pageOf(PAGES[page]), 200, HEADERS))
  web.get('/assets/:name', (c) => {
    const asset = ASSETS.get(c.req.param('name'))
    if (!asset) return problemResponse('not_found')
    const cached = c.req.param('name') === 'icon.svg' ? 'public, max-age=3600' : FOREVER
    // A script that works beside a page goes by the policy that it came with.
    const headers = { ...HEADERS, 'Content-Type': asset.type, 'Cache-Control': cached }
    return c.body(asset.body, 200, headers)
  })
  return web
}
