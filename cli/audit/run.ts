import { type Audit, auditRun, type Cosigned, runLog, toBase64 } from '../../shared/ledger/index.ts'
import { dataLine, roundedDown, roundedUp, table, writeResult } from '../output.ts'
import type { RunGiven } from './command.ts'
import { auditing, signedBy, signerOf } from './log.ts'
import { openSource } from './source.ts'
import { submit, witnessOf } from './witness.ts'

/** `sotto audit run`. @throws InputError, UnreachableError, RunError where something does not hold */
export async function auditOf(run: string, given: RunGiven): Promise<void> {
  const signer = signerOf(runLog, run, given)
  const source = await openSource(given.from)
  const witnesses = (given.witness ?? []).map(witnessOf)
  await auditing({ run }, async () => {
    const audit = await auditRun(source, { run, ...signedBy(given) })
    const cosigned: Cosigned[] = []
    for (const witness of witnesses) cosigned.push(await submit(audit, audit.note, witness))
    if (given.cosigned !== undefined) writeResult(withCosignatures(audit.note, cosigned), given.cosigned)
    if (given.html !== undefined) {
      const { htmlOf } = await import('./html.ts')
      writeResult(htmlOf(audit, signer), given.html)
    }
    writeResult(given.json ? dataLine(answerOf(audit, cosigned)) : wordsOf(audit, cosigned))
  })
}

/** The checkpoint with the line of each witness. */
const withCosignatures = (note: string, cosigned: readonly Cosigned[]): string =>
  note + cosigned.map((each) => each.note.slice(note.length)).join('')

function answerOf(audit: Audit, cosigned: readonly Cosigned[]): object {
  const { run, specHash, outcome, rounds, checkpoint, unsigned, spent, signers, stateHash, adapter, curve, spec } =
    audit
  const signed = { origin: checkpoint.origin, size: checkpoint.size, root: toBase64(checkpoint.root) }
  const told = { specHash, model: spec.model, outcome, rounds, checkpoint: signed, unsigned, budget: spec.budget }
  const witnessed = cosigned.map(({ witness, time }) => ({ witness, time }))
  const { cosignatures = 0 } = spec
  return { holds: true, run, ...told, cosigned: witnessed, cosignatures, spent, signers, stateHash, adapter, curve }
}

function wordsOf(audit: Audit, cosigned: readonly Cosigned[]): string {
  const { run, outcome, rounds, checkpoint, unsigned, spent, stateHash, adapter, spec } = audit
  const { epsilon, delta } = spec.budget
  const { cosignatures: wanted = 0 } = spec
  const ended = outcome === null ? 'goes on' : `ended: ${outcome}`
  const tail = unsigned === 0 ? '' : `, ${unsigned} after them not yet`
  const rows = spent.map(
    ({ dataset, charges, reports, ...own }) =>
      [
        dataset,
        `${roundedDown(own.lower)} to ${roundedUp(own.epsilon)}`,
        `epsilon at delta ${delta}; ${roundedUp(own.rdp)} by Renyi divergences; ${charges} charges, ${reports} reports`,
      ] as const,
  )
  return [
    `The log of ${run} holds.\n\n`,
    table([
      ['run', ended, `${rounds} rounds closed`],
      ['records', String(checkpoint.size), `signed${tail}`],
      ...cosigned.map(
        ({ witness, time }) => ['cosigned', new Date(1000 * time).toISOString(), `by ${witness}`] as const,
      ),
      ...(cosigned.length < wanted
        ? [['cosigned', `${cosigned.length} of ${wanted}`, 'that the run wants: name witnesses by --witness'] as const]
        : []),
      ['state', stateHash.slice(0, 16), 'replayed from the first record'],
      [
        'adapter',
        adapter ? adapter.sha256.slice(0, 16) : 'none',
        adapter ? adapter.key : 'of a run that did not complete',
      ],
      ['budget', String(epsilon), `epsilon at delta ${delta}, of each dataset`],
    ]),
    '\n',
    table(rows),
  ].join('')
}
