import { jobOf, type RunEvent, type RunSpec } from '../../shared/api/index.ts'
import type { RunRecord } from '../../shared/ledger/index.ts'
import { totalRounds } from '../../shared/zo/index.ts'
import { signalToNoise } from './progress.ts'
import { Account } from './view.ts'

/** Turns records into events, in order from the first: what is spent so far is counted on the way. */
export class EventFold {
  #accounts = new Map<string, Account>()
  #spec: RunSpec | null = null

  /** Takes a record whose event nobody asks for: what is spent is counted, and composed when it is asked for. */
  skip(record: RunRecord): void {
    if (record.type === 'charge') this.#accounts.get(record.dataset)?.add(record.event)
    if (record.type !== 'spec') return
    const { datasets, budget } = record.spec
    this.#spec = record.spec
    this.#accounts = new Map(datasets.map(({ id }) => [id, new Account(budget.delta)]))
  }

  /** The event of a record, or null where there is none. */
  push(record: RunRecord): RunEvent | null {
    const { seq, time } = record
    this.skip(record)
    switch (record.type) {
      case 'spec': {
        const { stages } = record.spec
        return { type: 'run.created', seq, time, job: jobOf(record.spec), rounds: totalRounds(stages) }
      }
      case 'open':
        return { type: 'round.opened', seq, time, round: record.round }
      case 'charge':
        return null
      case 'close': {
        const { round, privateLoss = null, clippedShare = null, stateHash } = record
        const signal = this.#spec ? signalToNoise(this.#spec, record) : 0
        const shown = { privateLoss, clippedShare, signalToNoise: signal, stateHash, spent: this.#spent() }
        return { type: 'round.closed', seq, time, round, ...shown }
      }
      case 'void':
        return { type: 'lease.lost', seq, time, round: record.round, dataset: record.dataset }
      case 'end':
        return { type: 'run.ended', seq, time, state: record.outcome }
      case 'evaluation': {
        const report = record.answer?.report
        const evaluation = report ? { records: report.records, correct: report.correct, loss: report.loss } : null
        return { type: 'round.evaluated', seq, time, round: record.round, evaluation }
      }
      case 'mask':
        return { type: 'stage.masked', seq, time, stage: record.stage, mask: record.answer.report.mask }
      case 'pause':
        return { type: 'run.paused', seq, time }
      case 'resume':
        return { type: 'run.resumed', seq, time }
      case 'stage':
        return null
    }
  }

  #spent(): Record<string, number> {
    return Object.fromEntries([...this.#accounts].map(([id, account]) => [id, account.epsilon]))
  }
}
