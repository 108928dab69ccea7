import type { ComponentChildren } from 'preact'
import type { Run } from '../../../shared/api/index.ts'

/** One figure with what it is. */
export function Figure({ name, value, note }: { name: string; value: ComponentChildren; note?: ComponentChildren }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        <span class="value">{value}</span>
        {note === undefined ? null : <span class="note">{note}</span>}
      </dd>
    </div>
  )
}

export const Figures = ({ children }: { children: ComponentChildren }) => <dl class="figures">{children}</dl>

const STATES = {
  running: 'running',
  paused: 'paused',
  completed: 'completed',
  cancelled: 'cancelled',
  budget_exhausted: 'budget exhausted',
  failed: 'failed',
} as const

export const State = ({ state }: { state: Run['state'] }) => <span class={`state ${state}`}>{STATES[state]}</span>

/** A bar of parts that fill it up to a whole. */
export function Bar({
  label,
  whole,
  parts,
}: {
  label: string
  whole: number
  parts: readonly (readonly [look: string, size: number])[]
}) {
  return (
    <div class="bar" role="img" aria-label={label}>
      {parts.map(([look, size]) => (
        <span key={look} class={look} style={{ width: `${Math.max(0, Math.min(100, (100 * size) / whole))}%` }} />
      ))}
    </div>
  )
}

export function Card({
  title,
  children,
  wide = false,
}: {
  title: string
  children: ComponentChildren
  wide?: boolean
}) {
  return (
    <section class={wide ? 'card wide' : 'card'} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  )
}

/** Names with what they are, one below the other. */
export function Rows({
  rows,
  children,
}: {
  rows: readonly (readonly [name: string, value: string])[]
  children?: ComponentChildren
}) {
  return (
    <dl class="rows">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
      {children}
    </dl>
  )
}

/** A table that scrolls by itself where the screen is narrow. */
export function Table({
  label,
  head,
  children,
}: {
  label: string
  head: readonly ComponentChildren[]
  children: ComponentChildren
}) {
  return (
    <section class="scroll" tabindex={0} aria-label={label}>
      <table>
        <thead>
          <tr>
            {head.map((name, i) => (
              <th key={i} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </section>
  )
}

/** The pages of one run. */
export function RunTabs({ id, here }: { id: string; here: 'run' | 'privacy' | 'ledger' }) {
  const tabs = [
    ['run', `/runs/${id}`, 'Run'],
    ['privacy', `/runs/${id}/privacy`, 'Privacy'],
    ['ledger', `/runs/${id}/ledger`, 'Ledger'],
  ] as const
  return (
    <nav class="tabs" aria-label="Pages of this run">
      {tabs.map(([name, href, text]) => (
        <a key={name} href={href} aria-current={name === here ? 'page' : undefined}>
          {text}
        </a>
      ))}
    </nav>
  )
}
