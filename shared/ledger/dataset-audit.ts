import { epsilonBounds, odometer, RdpFilter } from '../privacy/index.ts'
import { datasetLog, runLog } from './chain.ts'
import { COUNT, type DatasetStanding, ROUNDING, Tally, verifyDataset } from './dataset.ts'
import type { Checkpoint } from './note.ts'
import { AuditError, type AuditSource, ledgerChecked, readLog, type Signed } from './read.ts'
import type { RunRecord } from './record.ts'

/** What one run took of a dataset's lifetime budget. */
export interface AuditedShare {
  readonly run: string
  readonly charges: number
  /** Reserved, not charged and not returned: it may still be charged, and counts as spent. */
  readonly left: number
  /** Of its charges alone, a certified upper bound. */
  readonly epsilon: number
}

export interface DatasetAudit {
  readonly dataset: DatasetStanding['dataset']
  readonly isFrozen: boolean
  readonly checkpoint: Checkpoint
  /** The checkpoint as it was signed. */
  readonly note: string
  /** Records after the signed ones: there are some while runs go on. */
  readonly unsigned: number
  readonly charges: number
  readonly reserved: number
  /** Of all charges, at the delta of the lifetime budget: an upper bound however later runs were chosen, and a lower one. */
  readonly epsilon: number
  readonly lower: number
  /** What the filter of the lifetime budget has come to, and with what is reserved: it ends at the budget's epsilon. */
  readonly ofBudget: number
  readonly ofBudgetWithReserved: number
  /** In the order in which the log first names them. */
  readonly runs: readonly AuditedShare[]
}

/** The log of a dataset, read and checked. @throws AuditError */
export async function readStanding(source: AuditSource, dataset: string, signed: Signed) {
  const log = await readLog(source, datasetLog, dataset, signed)
  const standing = ledgerChecked(() => verifyDataset(log.records), log.at)
  if (standing.dataset.id !== dataset) throw new AuditError('forked', log.at(0), 'it is the log of another dataset')
  return { ...log, standing }
}

/**
 * What a run's log charged to a dataset is charged in the dataset's own log, or still reserved there.
 * @throws AuditError `hidden_charge`
 */
export function requireShown(
  { dataset, runs }: DatasetStanding,
  of: { readonly run: string; readonly records: readonly RunRecord[] },
  at: (seq: number) => string,
): void {
  const charged = new Tally()
  for (const record of of.records)
    if (record.type === 'charge' && record.dataset === dataset.id) charged.add(record.event, 1)
  const share = runs.get(of.run)
  for (const { event, count } of charged.entries()) {
    const shown = (share?.charged.of(event) ?? 0) + (share?.left.of(event) ?? 0)
    if (shown < count)
      throw new AuditError('hidden_charge', at(0), `${of.run} charged dataset ${dataset.id} more than this log says`)
  }
}

/**
 * Audits what a dataset spent over its life by the logs in the bucket alone: the signed checkpoint and the tree under it, the form
 * and the order of all records, that nothing was charged beyond the lifetime budget, and that every run that it names charged
 * no more than the dataset's own log says.
 * @throws AuditError naming the first object that does not hold, and why
 */
export async function auditDataset(
  source: AuditSource,
  { dataset: id, ...signed }: Signed & { readonly dataset: string },
): Promise<DatasetAudit> {
  const { note, checkpoint, head, at, standing } = await readStanding(source, id, signed)
  const { dataset, runs, spent, reserved, isFrozen } = standing
  for (const [run, share] of runs) {
    if (run === COUNT) continue
    // A run that was only just reserved for may not have signed anything yet.
    const isBegun = share.charged.entries().length > 0
    if (!isBegun && (await source.read(runLog.checkpointKey(run))) === null) continue
    const { records } = await readLog(source, runLog, run, signed)
    requireShown(standing, { run, records }, at)
  }
  const { epsilon, delta } = dataset.budget
  const ofBudget = new RdpFilter(dataset.budget, spent).epsilon()
  const ofBudgetWithReserved = new RdpFilter(dataset.budget, [...spent, ...reserved]).epsilon()
  if (!(ofBudgetWithReserved <= epsilon * (1 + ROUNDING)))
    throw new AuditError('over_budget', at(head.size - 1), `dataset ${id} spent more than its lifetime budget`)
  return {
    dataset,
    isFrozen,
    checkpoint,
    note,
    unsigned: head.size - checkpoint.size,
    charges: sum(spent),
    reserved: sum(reserved),
    epsilon: odometer(spent, delta).epsilon,
    lower: epsilonBounds(spent, delta).lower,
    ofBudget,
    ofBudgetWithReserved,
    runs: [...runs].map(([run, { charged, left }]) => ({
      run,
      charges: sum(charged.entries()),
      left: sum(left.entries()),
      epsilon: epsilonBounds(charged.entries(), delta).epsilon,
    })),
  }
}

const sum = (entries: readonly { readonly count: number }[]): number =>
  entries.reduce((all, { count }) => all + count, 0)
