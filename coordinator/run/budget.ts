import { envelopeOf, type RunSpec } from '../../shared/api/index.ts'
import type { ChargeAnswer, RunTerms } from '../dataset/index.ts'
import type { DatasetLedger } from './ports.ts'
import type { ChargeEntry } from './round.ts'
import type { RunView } from './view.ts'

export interface Refusal {
  readonly reason: string
  /** The dataset that its owner has frozen, where that is all: the run may go on later. */
  readonly frozen?: string
}

/** What a policy of an owner looks at in a run. */
export function termsOf({ budget, stages, quorum, model }: RunSpec): RunTerms {
  const noiseMultiplier = Math.min(...stages.map((stage) => stage.noiseMultiplier))
  return { epsilon: budget.epsilon, noiseMultiplier, quorum, model }
}

/**
 * Reserves at every dataset, at once, all that a run may ever charge, before its first round. What is reserved already stays so, so that a
 * crash in between costs nothing; where one refuses, the run ends and returns what the others gave.
 */
export async function reserveRun(view: RunView, datasets: DatasetLedger): Promise<Refusal | null> {
  const reservation = { run: view.id, events: envelopeOf(view.spec), terms: termsOf(view.spec) }
  const asked = view.spec.datasets.map(async ({ id }) => ({ id, answer: await datasets.reserve(id, reservation) }))
  for (const { id, answer } of await Promise.all(asked)) {
    if (answer.outcome === 'frozen') return ofFrozen(id)
    if (answer.outcome === 'policy')
      return { reason: `the owner of dataset ${id} does not allow the run: ${answer.limit}` }
    if (answer.outcome === 'exceeded') return { reason: `the run would exceed the lifetime budget of dataset ${id}` }
    if (answer.outcome === 'unknown') return ofDataset(id, answer.outcome)
  }
  return null
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
  return await chargeAll(charges, (charge) => datasets.charge(charge.dataset, chargeOf(view, charge), { dryRun: true }))
}

/** Asks all datasets at once. @returns the first refusal by their order */
async function chargeAll(
  charges: readonly ChargeEntry[],
  ask: (charge: ChargeEntry) => Promise<ChargeAnswer>,
): Promise<Refusal | null> {
  const answers = await Promise.all(
    charges.map(async (charge) => ({ dataset: charge.dataset, answer: await ask(charge) })),
  )
  for (const { dataset, answer } of answers) if (answer !== 'charged') return ofDataset(dataset, answer)
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
  return await chargeAll(charges, (charge) => datasets.charge(charge.dataset, chargeOf(view, charge)))
}

function chargeOf(view: RunView, { lease, event }: ChargeEntry) {
  return { id: lease, run: view.id, event }
}

function ofRun(dataset: string): Refusal {
  return { reason: `the next charge would exceed the run's budget for dataset ${dataset}` }
}

function ofFrozen(dataset: string): Refusal {
  return { reason: `dataset ${dataset} is frozen by its owner`, frozen: dataset }
}

function ofDataset(dataset: string, answer: 'exceeded' | 'frozen' | 'conflict' | 'unknown'): Refusal {
  if (answer === 'frozen') return ofFrozen(dataset)
  if (answer === 'exceeded') return { reason: `the next charge would exceed the lifetime budget of dataset ${dataset}` }
  return { reason: `dataset ${dataset} refused the charge: ${answer}` }
}
