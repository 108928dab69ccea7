import { useState } from 'preact/hooks'
import type { Sotto } from '../../../../client/index.ts'
import { useAsked } from '../asking.ts'
import { brief, count, moment } from '../figures.ts'
import { type Page, show, Trouble, Waiting } from '../frame.tsx'
import { runOf } from '../live-run.ts'
import { Card, RunTabs, State } from '../parts.tsx'
import { idAfter } from '../session.ts'
import { Verify } from '../verify.tsx'

const id = idAfter('runs')

const Ledger: Page = ({ sotto, token }) => (
  <>
    <RunHead sotto={sotto} />
    <Verify sotto={sotto} token={token} kind="runs" id={id} />
    <Records sotto={sotto} />
  </>
)

function RunHead({ sotto }: { sotto: Sotto }) {
  const { value, error } = useAsked(() => runOf(sotto, id), id, { everyMs: 5000 })
  return (
    <>
      <div class="heading">
        <h1>{id}</h1>
        {value ? <State state={value.state} /> : null}
      </div>
      <RunTabs id={id} here="ledger" />
      <Trouble error={error} />
    </>
  )
}

/** Records that a page shows. */
const PAGE = 50

interface Line {
  readonly seq: number
  readonly time: number
  readonly type: string
  readonly text: string
}

/** Lines of the log from a record on, as they lie in the store. */
async function linesFrom(sotto: Sotto, from: number | null): Promise<{ lines: Line[]; size: number; from: number }> {
  const { head } = await runOf(sotto, id)
  const first = Math.max(0, Math.min(from ?? head.size - PAGE, head.size - 1))
  const updates = await sotto.answer(
    sotto.api.v1.runs[':id'].updates.$get({ param: { id }, query: { after: String(first) } }),
  )
  const lines: Line[] = []
  for (let at = updates.segments[0]?.first; at !== undefined && lines.length < PAGE; ) {
    const { items } = await sotto.answer(
      sotto.api.v1.log.segments.$get({ query: { of: 'runs', id, first: String(at) } }),
    )
    const texts = items.flatMap(({ text }) => text.trimEnd().split('\n'))
    for (const text of texts) {
      const { seq, time, type } = JSON.parse(text) as Line
      if (seq >= first && lines.length < PAGE) lines.push({ seq, time, type, text })
    }
    at = texts.length === 0 ? undefined : at + texts.length
  }
  return { lines, size: head.size, from: first }
}

function Records({ sotto }: { sotto: Sotto }) {
  const [from, setFrom] = useState<number | null>(null)
  const { value, error, again } = useAsked(() => linesFrom(sotto, from), String(from))
  const at = value?.from ?? 0
  return (
    <Card title="Records" wide>
      <Trouble error={error} />
      <div class="pager">
        <button type="button" class="quiet" disabled={at === 0} onClick={() => setFrom(0)}>
          First
        </button>
        <button type="button" class="quiet" disabled={at === 0} onClick={() => setFrom(Math.max(0, at - PAGE))}>
          Earlier
        </button>
        <label class="inline">
          From record
          <input
            type="number"
            min="0"
            value={at}
            onChange={(event) => setFrom(Math.max(0, Math.trunc(Number(event.currentTarget.value))))}
          />
        </label>
        <button
          type="button"
          class="quiet"
          disabled={!value || at + PAGE >= value.size}
          onClick={() => setFrom(at + PAGE)}
        >
          Later
        </button>
        <button type="button" class="quiet" onClick={() => (from === null ? again() : setFrom(null))}>
          Newest
        </button>
      </div>
      {value ? (
        <ol class="records">
          {value.lines.map((line) => (
            <Record key={line.seq} line={line} />
          ))}
        </ol>
      ) : error ? null : (
        <Waiting what="records" />
      )}
      {value ? <p class="soft">{count(value.size)} records in all.</p> : null}
    </Card>
  )
}

function Record({ line: { seq, time, type, text } }: { line: Line }) {
  const [isOpen, setOpen] = useState(false)
  return (
    <li>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <span class="seq">{seq}</span> <span class={`record ${type}`}>{type}</span>{' '}
          <span class="soft">{moment(time)}</span> {tellOf(text)}
        </summary>
        {isOpen ? <pre tabindex={0}>{JSON.stringify(JSON.parse(text), null, 2)}</pre> : null}
      </details>
    </li>
  )
}

/** What a record is about, in a few words. */
function tellOf(text: string): string {
  const record = JSON.parse(text) as Record<string, unknown>
  const parts = [
    typeof record.round === 'number' ? `round ${record.round}` : '',
    typeof record.dataset === 'string' ? record.dataset : '',
    typeof record.stateHash === 'string' ? `state ${brief(record.stateHash)}` : '',
    typeof record.outcome === 'string' ? record.outcome : '',
  ]
  return parts.filter((part) => part !== '').join(', ')
}

show(`Ledger of ${id}`, Ledger)
