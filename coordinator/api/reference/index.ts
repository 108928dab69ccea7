import { Hono } from 'hono'
import type { ApiDocument } from './document.ts'
import { referencePage } from './page.ts'
import { STYLE } from './style.ts'

const STYLESHEET = '/docs/reference.css'
/** Nothing but the style of this page: not a script, and nothing of anywhere else. */
const POLICY =
  "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** The API as a page, made of its own document; it works without a network. @param read is asked once */
export function referenceRoutes(read: () => ApiDocument): Hono {
  let page: ReturnType<typeof referencePage> | undefined
  return new Hono()
    .get('/docs', (c) => {
      page ??= referencePage(read(), STYLESHEET)
      return c.html(page, 200, { 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff' })
    })
    .get(STYLESHEET, (c) => c.body(STYLE, 200, { 'Content-Type': 'text/css; charset=utf-8' }))
}
