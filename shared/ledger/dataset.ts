import { distinctEvents, type EventCount, type MechanismEvent, RdpFilter } from '../privacy/index.ts'
import { canonicalJson } from './canonical.ts'
import { LedgerError } from './chain.ts'
import type { DatasetRecord } from './dataset-record.ts'

type Registered = Extract<DatasetRecord, { type: 'register' }>['dataset']
type Charge = Extract<DatasetRecord, { type: 'charge' }>
type Reserve = Extract<DatasetRecord, { type: 'reserve' }>
type Release = Extract<DatasetRecord, { type: 'release' }>

/** Id and run of the charge for a private count of the units; no run and no lease is called so. */
export const COUNT = 'count'

/** The same releases, added up in another order, may differ by this share. */
export const ROUNDING = 1e-9

/** A count is one release of the Gaussian mechanism over all units, of sensitivity 1. */
export const countEvent = ({ noiseMultiplier }: { noiseMultiplier: number }): MechanismEvent => {
  return { mechanism: 'gaussian', noiseMultiplier, samplingRate: 1, neighbours: 'add-remove' }
}

/** Releases of mechanisms, counted by mechanism. */
export class Tally {
  readonly #counts = new Map<string, EventCount>()

  add(event: MechanismEvent, count: number): void {
    const key = canonicalJson(event)
    this.#counts.set(key, { event, count: this.of(event) + count })
  }

  of(event: MechanismEvent): number {
    return this.#counts.get(canonicalJson(event))?.count ?? 0
  }

  /** Those of which there are some. */
  entries(): EventCount[] {
    return [...this.#counts.values()].filter(({ count }) => count > 0)
  }
}

/** What a dataset's log says of one run. */
export interface RunShare {
  readonly charged: Tally
  /** Reserved and neither charged nor released. */
  readonly left: Tally
  readonly hasReserved: boolean
  readonly isReleased: boolean
}

export interface DatasetStanding {
  readonly dataset: Registered
  /** All charges of all runs. */
  readonly spent: readonly EventCount[]
  /** What runs may still charge without asking. */
  readonly reserved: readonly EventCount[]
  /** By run, in the order in which the log first names them; the count of units is under `COUNT`. */
  readonly runs: ReadonlyMap<string, RunShare>
  readonly isFrozen: boolean
}

/**
 * What the records of a dataset's log come to, and that they keep to its rules: it is registered first, and a private count charged
 * next; no lease is charged twice, nothing is drawn that was not reserved, nothing released that was not left, no run reserves
 * twice; and what is charged and reserved never exceeded the lifetime budget.
 * @param records the whole log
 * @throws LedgerError `not_a_record`, `out_of_order`, `not_reserved`, `over_lifetime_budget`
 */
export function verifyDataset(records: readonly DatasetRecord[]): DatasetStanding {
  const [first, ...rest] = records
  if (first?.type !== 'register') throw new LedgerError('not_a_record', 0)
  const standing = new Standing(first.dataset)
  for (const record of rest) standing.take(record)
  return standing.told()
}

class Standing {
  readonly #dataset: Registered
  readonly #runs = new Map<string, { charged: Tally; left: Tally; hasReserved: boolean; isReleased: boolean }>()
  readonly #leases = new Set<string>()
  readonly #spent = new Tally()
  #isFrozen = false

  constructor(dataset: Registered) {
    this.#dataset = dataset
  }

  take(record: DatasetRecord): void {
    switch (record.type) {
      case 'register':
        throw new LedgerError('out_of_order', record.seq)
      case 'reserve':
        this.#reserve(record)
        return
      case 'charge':
        this.#charge(record)
        return
      case 'release':
        this.#release(record)
        return
      case 'freeze':
        if (this.#isFrozen === record.frozen) throw new LedgerError('out_of_order', record.seq)
        this.#isFrozen = record.frozen
    }
  }

  told(): DatasetStanding {
    this.#requireCount(1)
    return {
      dataset: this.#dataset,
      spent: this.#spent.entries(),
      reserved: this.#reserved(),
      runs: this.#runs,
      isFrozen: this.#isFrozen,
    }
  }

  #share(run: string) {
    const share = this.#runs.get(run) ?? {
      charged: new Tally(),
      left: new Tally(),
      hasReserved: false,
      isReleased: false,
    }
    this.#runs.set(run, share)
    return share
  }

  #reserve({ run, events, seq }: Reserve): void {
    const share = this.#share(run)
    if (share.hasReserved || this.#isFrozen) throw new LedgerError('out_of_order', seq)
    share.hasReserved = true
    for (const { event, count } of events) share.left.add(event, count)
    this.#requireBudget(seq)
  }

  #charge({ run, lease, event, reserved, seq }: Charge): void {
    if (this.#leases.has(lease) || this.#isFrozen) throw new LedgerError('out_of_order', seq)
    if (run === COUNT) this.#requireItsCount({ lease, event, seq })
    else this.#requireCount(seq)
    this.#leases.add(lease)
    const share = this.#share(run)
    if (reserved && share.left.of(event) === 0) throw new LedgerError('not_reserved', seq)
    if (reserved) share.left.add(event, -1)
    share.charged.add(event, 1)
    this.#spent.add(event, 1)
    if (!reserved) this.#requireBudget(seq)
  }

  #release({ run, events, seq }: Release): void {
    const share = this.#runs.get(run)
    const left = share?.left.entries() ?? []
    const isAll = events.length === left.length && events.every(({ event, count }) => share!.left.of(event) === count)
    if (!share?.hasReserved || share.isReleased || !isAll) throw new LedgerError('not_reserved', seq)
    for (const { event, count } of left) share.left.add(event, -count)
    share.isReleased = true
  }

  #requireItsCount({ lease, event, seq }: Pick<Charge, 'lease' | 'event' | 'seq'>): void {
    const { count } = this.#dataset
    const isIts = count && lease === COUNT && canonicalJson(event) === canonicalJson(countEvent(count))
    if (!isIts) throw new LedgerError('out_of_order', seq)
  }

  /** Units that were counted are paid for before anything else. */
  #requireCount(seq: number): void {
    if (this.#dataset.count && !this.#leases.has(COUNT)) throw new LedgerError('out_of_order', seq)
  }

  #reserved(): EventCount[] {
    return distinctEvents([...this.#runs.values()].flatMap(({ left }) => left.entries()))
  }

  #requireBudget(seq: number): void {
    const { budget } = this.#dataset
    const { epsilon } = budget
    const committed = new RdpFilter(budget, distinctEvents([...this.#spent.entries(), ...this.#reserved()])).epsilon()
    if (!(committed <= epsilon * (1 + ROUNDING))) throw new LedgerError('over_lifetime_budget', seq)
  }
}
