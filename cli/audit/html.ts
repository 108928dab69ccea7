import { type Audit, type Signer, toBase64, verifierKey } from '../../shared/ledger/index.ts'
import { roundedDown, roundedUp } from '../output.ts'
import { drawPlot, type Plot } from '../privacy/plot.ts'
import { escaped } from '../privacy/svg.ts'

const STYLE = `:root { color-scheme: light dark; } body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid #8886; vertical-align: top; }
code { overflow-wrap: anywhere; } svg { max-width: 100%; height: auto; } .good { font-size: 1.2rem; }`

const row = (cells: readonly string[]): string =>
  `<tr>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`
const head = (cells: readonly string[]): string =>
  `<thead><tr>${cells.map((cell) => `<th scope="col">${escaped(cell)}</th>`).join('')}</tr></thead>`
const fact = (name: string, value: string): string =>
  `<tr><th scope="row">${escaped(name)}</th><td><code>${escaped(value)}</code></td></tr>`

function plotOf({ curve, run, spec }: Audit): Plot {
  const last = curve.at(-1)!
  const line = (kind: 'certified' | 'rdp', of: (point: Audit['curve'][number]) => number) => ({
    kind,
    name: kind === 'certified' ? 'certified' : 'Renyi',
    value: roundedUp(of(last)),
    points: [[0, 0] as const, ...curve.map((point) => [point.round, of(point)] as const)],
  })
  return {
    title: `What ${run} spent`,
    subtitle: `epsilon of the dataset charged most, at delta ${spec.budget.delta}; the budget is ${spec.budget.epsilon}`,
    x: { title: 'closed rounds', from: 0, to: last.round, whole: true },
    y: { title: 'epsilon', from: 0, to: Math.max(...curve.map(({ rdp }) => rdp)), logarithmic: false },
    lines: [line('certified', ({ epsilon }) => epsilon), line('rdp', ({ rdp }) => rdp)],
    marks: [],
  }
}

/** A report that stands alone: no script, nothing loaded from anywhere. */
export function htmlOf(audit: Audit, signer: Signer): string {
  const { run, spec, specHash, outcome, rounds, checkpoint, unsigned, spent, signers, stateHash, adapter } = audit
  const { delta } = spec.budget
  const spends = spent.map(({ dataset, charges, reports, epsilon, lower, rdp }) =>
    row([dataset, `${roundedDown(lower)} to ${roundedUp(epsilon)}`, roundedUp(rdp), String(charges), String(reports)]),
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Privacy audit of ${escaped(run)}</title><style>${STYLE}</style></head><body>
<h1>Privacy audit of ${escaped(run)}</h1>
<p class="good">The log holds. Each of its ${checkpoint.size} signed records was read and checked${unsigned > 0 ? `; ${unsigned} after them are not signed yet` : ''}.</p>
<h2>What was spent</h2>
<p>A value of epsilon says how much more likely any result of the run can be with a given ${spec.datasets[0]?.unit === 'user' ? 'user' : 'record'}
of a dataset than without: by a factor of at most e<sup>epsilon</sup>, but for a chance of delta = ${delta}. The run was allowed ${spec.budget.epsilon}.
The bounds were recomputed from the charges in the log.</p>
<table>${head(['dataset', 'epsilon, certified', 'epsilon, Renyi', 'charges', 'reports'])}<tbody>${spends.join('')}</tbody></table>
${audit.curve.length > 0 ? drawPlot(plotOf(audit)) : ''}
<h2>What was checked</h2>
<ul><li>the checkpoint is signed by the key below, and the tree of all records is the one that it names</li>
<li>every report was charged before it was made, counted once, and is signed by its worker</li>
<li>every update follows from the reports, and the model's trained state was computed again from the first record on</li>
<li>${adapter ? 'the adapter in the bucket is the one that the log leads to' : 'the run has no adapter'}</li></ul>
<h2>Facts</h2>
<table><tbody>${[
    fact('outcome', outcome ?? 'the run goes on'),
    fact('closed rounds', String(rounds)),
    fact('base model', spec.model),
    fact('spec', specHash),
    fact('trained state', stateHash),
    ...(adapter ? [fact('adapter', `${adapter.key} (SHA-256 ${adapter.sha256})`)] : []),
    fact('log', `${checkpoint.origin}, ${checkpoint.size} records, root ${toBase64(checkpoint.root)}`),
    fact('verifier key', verifierKey(signer)),
  ].join('')}</tbody></table>
<h2>Who reported</h2>
<table>${head(['dataset', 'worker', 'public key'])}<tbody>${signers.map(({ dataset, worker, publicKey }) => row([dataset, worker, publicKey])).join('')}</tbody></table>
</body></html>
`
}
