import { auditDataset, COUNT, type DatasetAudit, toBase64 } from '../../shared/ledger/index.ts'
import { dataLine, roundedDown, roundedUp, table, writeResult } from '../output.ts'
import type { DatasetGiven } from './command.ts'
import { auditing, checkedId, signedBy } from './log.ts'
import { openSource } from './source.ts'

/** `sotto audit dataset`. @throws InputError, UnreachableError, RunError where something does not hold */
export async function auditOfDataset(dataset: string, given: DatasetGiven): Promise<void> {
  const question = { dataset: checkedId(dataset), ...signedBy(given) }
  const source = await openSource(given.from)
  const audit = await auditing({ dataset }, () => auditDataset(source, question))
  writeResult(given.json ? dataLine(answerOf(audit)) : wordsOf(audit))
}

function answerOf({ checkpoint, note: _, ...audit }: DatasetAudit): object {
  const signed = { origin: checkpoint.origin, size: checkpoint.size, root: toBase64(checkpoint.root) }
  return { holds: true, ...audit, checkpoint: signed }
}

function wordsOf(audit: DatasetAudit): string {
  const { dataset, checkpoint, unsigned, charges, reserved, epsilon, lower, ofBudget, ofBudgetWithReserved } = audit
  const { budget, units, unit } = dataset
  const tail = unsigned === 0 ? '' : `, ${unsigned} after them not yet`
  const held = reserved === 0 ? 'nothing is reserved' : `with what is reserved ${roundedUp(ofBudgetWithReserved)}`
  return [
    `The log of dataset ${dataset.id} holds, and those of its runs say no more than it does.\n\n`,
    table([
      ['units', String(units), `${unit}s${dataset.count ? ', counted with noise' : ''}`],
      ['records', String(checkpoint.size), `signed${tail}`],
      ['frozen', audit.isFrozen ? 'yes' : 'no', 'by its owner'],
      [
        'spent',
        `${roundedDown(lower)} to ${roundedUp(epsilon)}`,
        `epsilon at delta ${budget.delta}; ${charges} charges`,
      ],
      ['budget', String(budget.epsilon), `of which the filter has come to ${roundedUp(ofBudget)}, ${held}`],
    ]),
    '\n',
    table(
      audit.runs.map(({ run, charges, left, epsilon }) => {
        const what = run === COUNT ? 'the count of its units' : `${charges} charges, ${left} still reserved`
        return [run, roundedUp(epsilon), `epsilon of its charges alone; ${what}`] as const
      }),
    ),
  ].join('')
}
