import type { PublicReport } from '../api/lease.ts'
import { stageEvent } from '../api/spec.ts'
import { replayStart } from '../zo/replay.ts'
import { reportLength, stageOf, withMask } from '../zo/schedule.ts'
import { stateHash } from '../zo/state.ts'
import { coefficients } from '../zo/update.ts'
import { hashOf } from './canonical.ts'
import { LedgerError } from './chain.ts'
import { awaitedWork, isAnswer, type Standing } from './public-work.ts'
import type { RunRecord } from './record.ts'
import { toldOf } from './told.ts'

type Close = Extract<RunRecord, { type: 'close' }>
type Charge = Extract<RunRecord, { type: 'charge' }>
type Spec = Extract<RunRecord, { type: 'spec' }>

/**
 * What the records of a run must keep to, beside their chain: every released report has its own charge before it, for its round and
 * dataset, no report is counted twice, every charge is its stage's mechanism, the coefficients, the private loss and the share of
 * clipped units follow from the integers, and no round began before the evaluation and the mask that it waits for, or in a pause.
 * The trained state is checked by `replay` of `shared/zo`.
 * @param records the whole log, from its first record
 * @throws LedgerError `not_a_record` without a spec at the head, `uncharged_report`, `wrong_update`, `wrong_public_work`,
 *   `out_of_order`
 */
export function verifyRun(records: readonly RunRecord[]): Spec {
  const [first] = records
  if (first?.type !== 'spec') throw new LedgerError('not_a_record', 0)
  const charges = new Map<string, Charge>()
  const counted = new Set<string>()
  const between = new BetweenRounds(first)
  for (const record of records) {
    between.push(record)
    if (record.type === 'charge') charges.set(record.lease, checkedCharge(record, first))
    if (record.type === 'close') checkClose(record, { first, charges, counted })
  }
  return first
}

/** What lies between rounds: the work that the next one waits for, each answered once and for the model as it is. */
class BetweenRounds {
  #at: Standing
  #stateHash: string
  #isPaused = false

  constructor({ spec }: Spec) {
    this.#at = { resolved: spec, closed: 0, evaluated: null }
    this.#stateHash = stateHash(replayStart(spec).state)
  }

  push(record: RunRecord): void {
    switch (record.type) {
      case 'open':
        this.#require(awaitedWork(this.#at) === null, record)
        if (this.#isPaused) throw new LedgerError('out_of_order', record.seq)
        return
      case 'pause':
      case 'resume':
        if (this.#isPaused === (record.type === 'pause')) throw new LedgerError('out_of_order', record.seq)
        this.#isPaused = record.type === 'pause'
        return
      case 'close':
        this.#at = { ...this.#at, closed: record.round + 1 }
        this.#stateHash = record.stateHash
        return
      case 'evaluation':
        this.#require(awaitedWork(this.#at)?.kind === 'evaluation' && record.round === this.#at.closed, record)
        if (record.answer) this.#checkAnswer(record.answer.report, record)
        this.#at = { ...this.#at, evaluated: record.round }
        return
      case 'mask': {
        const { report } = record.answer
        this.#checkAnswer(report, record)
        this.#require(report.stage === record.stage, record)
        this.#at = { ...this.#at, resolved: withMask(this.#at.resolved, record.stage, report) }
        return
      }
      case 'end':
        this.#require(record.outcome !== 'completed' || awaitedWork(this.#at) === null, record)
    }
  }

  #checkAnswer(report: PublicReport, record: RunRecord): void {
    const work = awaitedWork(this.#at)
    const { resolved } = this.#at
    this.#require(work !== null && isAnswer(resolved, { work, stateHash: this.#stateHash }, report), record)
  }

  #require(holds: boolean, { seq }: RunRecord): void {
    if (!holds) throw new LedgerError('wrong_public_work', seq)
  }
}

function checkedCharge(charge: Charge, { spec }: Spec): Charge {
  const { stage } = stageOf(spec.stages, charge.round)
  if (hashOf(charge.event) !== hashOf(stageEvent(spec, stage))) {
    throw new LedgerError('uncharged_report', charge.seq)
  }
  return charge
}

function checkClose(close: Close, log: { first: Spec; charges: Map<string, Charge>; counted: Set<string> }): void {
  const { spec } = log.first
  const { stage } = stageOf(spec.stages, close.round)
  const datasets = new Set<string>()
  for (const { lease, dataset, integers } of close.reports) {
    const charge = log.charges.get(lease)
    const isCharged = charge?.round === close.round && charge.dataset === dataset
    if (!isCharged || log.counted.has(lease) || datasets.has(dataset))
      throw new LedgerError('uncharged_report', close.seq)
    if (integers.length !== reportLength(stage)) throw new LedgerError('wrong_update', close.seq)
    log.counted.add(lease)
    datasets.add(dataset)
  }
  if (close.reports.length < Math.max(spec.quorum, 1)) throw new LedgerError('wrong_update', close.seq)
  const weighed = weighedReports(close, spec)
  const expected = coefficients(weighed, stage, spec.aggregation)
  const isSame = expected.length === close.coefficients.length && expected.every((c, k) => c === close.coefficients[k])
  const { privateLoss, clippedShare } = toldOf(spec, stage, weighed)
  const isTold = privateLoss === close.privateLoss && clippedShare === close.clippedShare
  if (!isSame || !isTold) throw new LedgerError('wrong_update', close.seq)
}

function weighedReports({ reports, seq }: Close, { datasets }: Spec['spec']): { integers: number[]; units: number }[] {
  const units = new Map(datasets.map((dataset) => [dataset.id, dataset.units]))
  return reports.map(({ dataset, integers }) => {
    const count = units.get(dataset)
    if (count === undefined) throw new LedgerError('uncharged_report', seq)
    return { integers, units: count }
  })
}
