import {
  type ChargedEvent,
  type Evaluation,
  envelopeOf,
  type PublicReport,
  type RunSpec,
} from '../../shared/api/index.ts'
import { EMPTY_LOG, hashOf, type LogHead, type RunRecord } from '../../shared/ledger/index.ts'
import { distinctEvents, type EventCount, epsilonBounds, ScheduleFilter } from '../../shared/privacy/index.ts'
import { withMask } from '../../shared/zo/index.ts'
import { signalToNoise } from './progress.ts'

/** The charge that stands for a dataset in the open round, by its lease. */
export interface Slot {
  readonly dataset: string
  readonly lease: string
  readonly attempt: number
  readonly event: ChargedEvent
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
  readonly #delta: number
  #history: readonly EventCount[] = []
  #charges = 0
  #epsilon = 0

  constructor(delta: number) {
    this.#delta = delta
  }

  add(event: ChargedEvent): void {
    this.#history = this.with(event)
    this.#charges += 1
    this.#epsilon = Number.NaN
  }

  /** The charges with one more. */
  with(event: ChargedEvent): readonly EventCount[] {
    return distinctEvents([...this.#history, { event, count: 1 }])
  }

  get history(): readonly EventCount[] {
    return this.#history
  }

  get charges(): number {
    return this.#charges
  }

  /** The certified upper bound; composed when first asked for after a charge. */
  get epsilon(): number {
    if (Number.isNaN(this.#epsilon)) this.#epsilon = epsilonBounds(this.#history, this.#delta).epsilon
    return this.#epsilon
  }
}

/** How far back the running means of private losses and of signal to noise look. */
const WINDOW = 16

/** What the stored log says. Made by folding its records and by nothing else, at start-up as in the running process. */
export interface RunView {
  readonly id: string
  readonly spec: RunSpec
  /** The spec with the masks that are made so far: what is replayed, is by this. */
  resolved: RunSpec
  readonly specHash: string
  readonly created: number
  head: LogHead
  /** Closed rounds. */
  closed: number
  /** Seq of the record that opened each round. */
  readonly opened: number[]
  open: OpenRound | null
  readonly accounts: ReadonlyMap<string, Account>
  /** Decides whether a dataset's charges stay within the run's budget. */
  readonly filter: ScheduleFilter
  /** Private losses of the last closed rounds. */
  losses: number[]
  /** Shares of clipped units of the last closed rounds. */
  clipped: number[]
  /** Signal to noise of the last closed rounds. */
  signals: number[]
  /** Closed rounds at the newest evaluation, answered or not. */
  evaluated: number | null
  /** The newest answer to one. */
  evaluation: (Evaluation & { readonly round: number }) | null
  /** The newest answer to public work, by its lease: its repeat is the same. */
  answered: { readonly lease: string; readonly worker: string; readonly bodyHash: string } | null
  /** Hash of the trained state after the last closed round. */
  stateHash: string | null
  /** No round is opened until the run is resumed; `frozen` is the dataset whose owner froze it, if that is why. */
  paused: { readonly frozen: string | null } | null
  /** What the run was, and since when. */
  readonly history: { state: 'running' | 'paused' | EndRecord['outcome']; time: number }[]
  end: Pick<EndRecord, 'outcome' | 'adapter' | 'stateHash'> | null
}

/** The view after a log's first record. */
export function viewOfSpec(record: Extract<RunRecord, { type: 'spec' }>): RunView {
  const { run, spec, time } = record
  return {
    id: run,
    spec,
    resolved: spec,
    specHash: hashOf(spec),
    created: time,
    head: EMPTY_LOG,
    closed: 0,
    opened: [],
    open: null,
    accounts: new Map(spec.datasets.map(({ id }) => [id, new Account(spec.budget.delta)])),
    filter: new ScheduleFilter(envelopeOf(spec), spec.budget),
    losses: [],
    clipped: [],
    signals: [],
    evaluated: null,
    evaluation: null,
    answered: null,
    stateHash: null,
    paused: null,
    history: [{ state: 'running', time }],
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
      view.opened[record.round] = record.seq
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
      if (record.privateLoss !== undefined) view.losses = [...view.losses, record.privateLoss].slice(-WINDOW)
      if (record.clippedShare !== undefined) view.clipped = [...view.clipped, record.clippedShare].slice(-WINDOW)
      view.signals = [...view.signals, signalToNoise(view.spec, record)].slice(-WINDOW)
      return
    case 'evaluation':
      view.evaluated = record.round
      if (!record.answer) return
      view.evaluation = evaluationOf(record.answer.report)
      view.answered = answeredBy(record.answer)
      return
    case 'mask':
      view.resolved = withMask(view.resolved, record.stage, record.answer.report)
      view.answered = answeredBy(record.answer)
      return
    case 'pause':
    case 'resume':
      view.paused = record.type === 'pause' ? { frozen: record.frozen } : null
      view.history.push({ state: view.paused ? 'paused' : 'running', time: record.time })
      return
    case 'end':
      view.history.push({ state: record.outcome, time: record.time })
      view.open = null
      view.end = { outcome: record.outcome, adapter: record.adapter, stateHash: record.stateHash }
  }
}

const answeredBy = ({ worker, report }: { worker: string; report: PublicReport }) => ({
  lease: report.lease,
  worker,
  bodyHash: hashOf(report),
})

function evaluationOf({ round, records, correct, loss }: Evaluation & { round: number }) {
  return { round, records, correct, loss }
}

function setSlot(view: RunView, slot: Slot): void {
  if (view.open) view.open = { ...view.open, slots: new Map([...view.open.slots, [slot.dataset, slot]]) }
}
