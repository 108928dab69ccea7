import { useEffect, useRef, useState } from 'preact/hooks'
import type { Sotto } from '../../../client/index.ts'
import { useAsked } from './asking.ts'
import type { AuditQuestion, AuditTold } from './auditing.worker.ts'
import { openWorker } from './background.ts'
import { brief, bytes, count, lower, upper } from './figures.ts'
import { Trouble } from './frame.tsx'
import { Card, Table } from './parts.tsx'

interface VerifyProps {
  readonly sotto: Sotto
  readonly token: string
  readonly kind: 'runs' | 'datasets'
  readonly id: string
}

/** Downloads a log and audits it in this page, as `sotto audit` does. */
export function Verify({ sotto, token, kind, id }: VerifyProps) {
  const { value: log, error } = useAsked(() => sotto.answer(sotto.api.v1.log.$get()), 'log')
  const [pinned, setPinned] = useState<string | null>(null)
  const [told, setTold] = useState<AuditTold | null>(null)
  const worker = useRef<Worker | null>(null)
  useEffect(() => () => worker.current?.terminate(), [])
  const begin = () => {
    if (!log) return
    worker.current?.terminate()
    setTold({ kind: 'progress', objects: 0, bytes: 0 })
    worker.current = openWorker('auditing')
    worker.current.addEventListener('message', ({ data }: MessageEvent<AuditTold>) => setTold(data))
    worker.current.addEventListener('error', () =>
      setTold({
        kind: 'fault',
        holds: null,
        code: 'unexpected',
        detail: 'What verifies it could not be started, or stopped.',
      }),
    )
    const question: AuditQuestion = { kind, id, token, name: log.name, publicKey: (pinned ?? log.publicKey).trim() }
    worker.current.postMessage(question)
  }
  const isBusy = told?.kind === 'progress'
  return (
    <Card title="Verify" wide>
      <p>
        The log is downloaded and checked here, record by record: the signed tree, a charge before each report, every
        signature, every update, the trained state bit for bit, and what was spent. Nothing that the coordinator says
        beside its log is believed.
      </p>
      <label>
        Key that the log is signed with
        <input
          type="text"
          class="key"
          spellcheck={false}
          value={pinned ?? log?.publicKey ?? ''}
          onInput={(event) => setPinned(event.currentTarget.value)}
        />
      </label>
      <p class="soft">
        Shown is what the coordinator says. An auditor puts the key here that came another way, or runs{' '}
        <code>sotto audit</code> over the bucket itself.
      </p>
      <Trouble error={error} />
      <button type="button" onClick={begin} disabled={!log || isBusy}>
        {isBusy ? 'Verifying …' : 'Verify'}
      </button>
      <div role="status">{told ? <Told told={told} kind={kind} id={id} /> : null}</div>
    </Card>
  )
}

function Told({ told, kind, id }: { told: AuditTold; kind: 'runs' | 'datasets'; id: string }) {
  switch (told.kind) {
    case 'progress':
      return (
        <p class="soft">
          {count(told.objects)} objects, {bytes(told.bytes)}
        </p>
      )
    case 'fault':
      return told.holds === false ? (
        <p class="verdict bad" data-verdict={told.code}>
          The log of {id} does not hold: {told.code.replaceAll('_', ' ')}. {told.detail}
        </p>
      ) : (
        <p class="verdict unknown" data-verdict={told.code}>
          The log of {id} could not be verified, and nothing is known of it: {told.code.replaceAll('_', ' ')}.{' '}
          {told.detail}
        </p>
      )
    case 'run':
      return <RunTold told={told} />
    case 'dataset':
      return kind === 'datasets' ? <DatasetTold told={told} /> : null
  }
}

const tailOf = (unsigned: number) => (unsigned === 0 ? '' : `, ${count(unsigned)} after them not yet`)

function RunTold({ told: { findings, counts } }: { told: Extract<AuditTold, { kind: 'run' }> }) {
  const { checkpoint, unsigned, outcome, rounds, stateHash, adapter, spent, spec } = findings
  return (
    <>
      <p class="verdict good" data-verdict="holds">
        The log of {findings.run} holds.
      </p>
      <dl class="rows">
        <div>
          <dt>Run</dt>
          <dd>
            {outcome === null ? 'goes on' : `ended: ${outcome.replace('_', ' ')}`}, {count(rounds)} rounds closed
          </dd>
        </div>
        <div>
          <dt>Records</dt>
          <dd>
            {count(checkpoint.size)} signed{tailOf(unsigned)}:{' '}
            {Object.entries(counts)
              .map(([type, n]) => `${count(n)} ${type}`)
              .join(', ')}
          </dd>
        </div>
        <div>
          <dt>Root</dt>
          <dd class="hash">{checkpoint.root}</dd>
        </div>
        <div>
          <dt>State, replayed</dt>
          <dd class="hash" data-figure="state">
            {stateHash}
          </dd>
        </div>
        <div>
          <dt>Adapter</dt>
          <dd>{adapter ? `${brief(adapter.sha256)} as the log leads to it` : 'none'}</dd>
        </div>
      </dl>
      <Table
        label="What was spent"
        head={['Dataset', 'Epsilon, at least', 'at most', 'by Rényi divergences', 'Charges', 'Reports']}
      >
        {spent.map((each) => (
          <tr key={each.dataset}>
            <th scope="row">{each.dataset}</th>
            <td class="number">{lower(each.lower)}</td>
            <td class="number" data-audited={each.dataset}>
              {upper(each.epsilon)}
            </td>
            <td class="number">{upper(each.rdp)}</td>
            <td class="number">{count(each.charges)}</td>
            <td class="number">{count(each.reports)}</td>
          </tr>
        ))}
      </Table>
      <p class="soft">At delta {spec.budget.delta}.</p>
    </>
  )
}

function DatasetTold({ told: { findings } }: { told: Extract<AuditTold, { kind: 'dataset' }> }) {
  const { dataset, checkpoint, unsigned, epsilon, lower: least, ofBudget, runs, charges } = findings
  return (
    <>
      <p class="verdict good" data-verdict="holds">
        The log of dataset {dataset.id} holds, and those of its runs say no more than it does.
      </p>
      <p>
        {count(checkpoint.size)} records are signed{tailOf(unsigned)}. {count(charges)} charges: epsilon {lower(least)}{' '}
        to {upper(epsilon)} at delta {dataset.budget.delta}; the filter has come to{' '}
        {upper(charges === 0 ? 0 : ofBudget)} of {dataset.budget.epsilon}.
      </p>
      <Table
        label="Spend by run, from the log"
        head={['Run', 'Epsilon of its charges alone', 'Charges', 'Still reserved']}
      >
        {runs.map((each) => (
          <tr key={each.run}>
            <th scope="row">{each.run}</th>
            <td class="number">{upper(each.epsilon)}</td>
            <td class="number">{count(each.charges)}</td>
            <td class="number">{count(each.left)}</td>
          </tr>
        ))}
      </Table>
    </>
  )
}
