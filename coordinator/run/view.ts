import type { RunSpec } from '../../shared/api/index.ts'
import { EMPTY_LOG, hashOf, type LogHead, type RunRecord } from '../../shared/ledger/index.ts'
import { type MechanismEvent, RdpMeter } from '../../shared/privacy/index.ts'

/** The charge that stands for a dataset in the open round, by its lease. */
export interface Slot {
  readonly dataset: string
  readonly lease: string
  readonly attempt: number
  readonly event: MechanismEvent
  /** The log says that the lease was lost. */
  readonly lost: boolean
}

export interface OpenRound {
  readonly round: number
  readonly stage: number
  readonly opened: number
  readonly slots: ReadonlyMap<string, Slot>
}

type EndRecord = Extract<RunRecord, { type: 'end' }>

/** Privacy spent of one dataset by one run: the composition of its charge records. */
export class Account {
  readonly #meter = new RdpMeter()
  readonly #delta: number
  #charges = 0
  #epsilon = 0

  constructor(delta: number) {
    this.#delta = delta
  }

  add(event: MechanismEvent): void {
    this.#meter.add(event)
    this.#charges += 1
    this.#epsilon = Number.NaN
  }

  get meter(): RdpMeter {
    return this.#meter
  }

  get charges(): number {
    return this.#charges
  }

  /** Composed when first asked for after a charge. */
  get epsilon(): number {
    if (Number.isNaN(this.#epsilon)) this.#epsilon = this.#meter.epsilon(this.#delta).epsilon
    return this.#epsilon
  }
}

/** How far back the running mean of the private losses looks. */
const LOSS_WINDOW = 16

/** What the stored log says. Made by folding its records and by nothing else, at start-up as in the running process. */
export interface RunView {
  readonly id: string
  readonly spec: RunSpec
  readonly specHash: string
  readonly created: number
  head: LogHead
  /** Closed rounds. */
  closed: number
  open: OpenRound | null
  readonly accounts: ReadonlyMap<string, Account>
  /** Private losses of the last closed rounds. */
  losses: number[]
  /** Hash of the trained state after the last closed round. */
  stateHash: string | null
  end: Pick<EndRecord, 'outcome' | 'adapter' | 'stateHash'> | null
}

/** The view after a log's first record. */
export function viewOfSpec(record: Extract<RunRecord, { type: 'spec' }>): RunView {
  const { run, spec, time } = record
  return {
    id: run,
    spec,
    specHash: hashOf(spec),
    created: time,
    head: EMPTY_LOG,
    closed: 0,
    open: null,
    accounts: new Map(spec.datasets.map(({ id }) => [id, new Account(spec.budget.delta)])),
    losses: [],
    stateHash: null,
    end: null,
  }
}

/** Takes one more record into a view. */
export function foldRecord(view: RunView, record: RunRecord): void {
  switch (record.type) {
    case 'spec':
    case 'stage':
      return
    case 'open':
      view.open = { round: record.round, stage: record.stage, opened: record.time, slots: new Map() }
      return
    case 'charge': {
      const { dataset, lease, attempt, event } = record
      view.accounts.get(dataset)?.add(event)
      setSlot(view, { dataset, lease, attempt, event, lost: false })
      return
    }
    case 'void': {
      const slot = view.open?.slots.get(record.dataset)
      if (slot?.lease === record.lease) setSlot(view, { ...slot, lost: true })
      return
    }
    case 'close':
      view.open = null
      view.closed = record.round + 1
      view.stateHash = record.stateHash
      if (record.privateLoss !== undefined) view.losses = [...view.losses, record.privateLoss].slice(-LOSS_WINDOW)
      return
    case 'end':
      view.open = null
      view.end = { outcome: record.outcome, adapter: record.adapter, stateHash: record.stateHash }
  }
}

function setSlot(view: RunView, slot: Slot): void {
  if (view.open) view.open = { ...view.open, slots: new Map([...view.open.slots, [slot.dataset, slot]]) }
}
