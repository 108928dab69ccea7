import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Serious faults of accessibility, and what has them. Run by the debugger, which the page's policy does not bind. */
export async function seriousFaults(page: Page): Promise<string[]> {
  interface Violation {
    readonly id: string
    readonly impact: string
    readonly nodes: { readonly html: string }[]
  }
  const { violations } = await page.evaluate<{ violations: Violation[] }>(
    `${AXE}; axe.run().then(({ violations }) => ({ violations: violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(({ html }) => ({ html })) })) }))`,
  )
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  return serious.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 200)}`)
}
