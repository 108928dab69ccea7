import type { DatasetLedger } from './ports.ts'
import type { ChargeEntry } from './round.ts'
import type { RunView } from './view.ts'

export interface Refusal {
  readonly reason: string
}

/** Why datasets can not be charged for leases, or null where they can. Nothing is charged. */
export async function refusalOf(
  view: RunView,
  charges: readonly ChargeEntry[],
  datasets: DatasetLedger,
): Promise<Refusal | null> {
  for (const { dataset, event } of charges) {
    const charges = view.accounts.get(dataset)?.with(event)
    if (!charges || !view.filter.allows(charges)) return ofRun(dataset)
  }
  for (const charge of charges) {
    const answer = await datasets.charge(charge.dataset, chargeOf(view, charge), { dryRun: true })
    if (answer !== 'charged') return ofDataset(charge.dataset, answer)
  }
  return null
}

/**
 * Charges every dataset for leases about to be opened, or says why not. All budgets are asked first, so that no dataset is
 * charged for a round that another one's budget refuses. A charge made and then not logged (a crash between) stays made:
 * its id is the lease's, and the next try makes the same charge again, which counts once.
 */
export async function reserve(
  view: RunView,
  charges: readonly ChargeEntry[],
  datasets: DatasetLedger,
): Promise<Refusal | null> {
  const refusal = await refusalOf(view, charges, datasets)
  if (refusal) return refusal
  for (const charge of charges) {
    const answer = await datasets.charge(charge.dataset, chargeOf(view, charge))
    if (answer !== 'charged') return ofDataset(charge.dataset, answer)
  }
  return null
}

function chargeOf(view: RunView, { lease, event }: ChargeEntry) {
  return { id: lease, run: view.id, event }
}

function ofRun(dataset: string): Refusal {
  return { reason: `the next charge would exceed the run's budget for dataset ${dataset}` }
}

function ofDataset(dataset: string, answer: 'exceeded' | 'conflict' | 'unknown'): Refusal {
  if (answer === 'exceeded') return { reason: `the next charge would exceed the lifetime budget of dataset ${dataset}` }
  return { reason: `dataset ${dataset} refused the charge: ${answer}` }
}
