import { reportBytes } from '../api/signing.ts'
import type { RunSpec } from '../api/spec.ts'
import { canonicalHistory, type EventCount, epsilonBounds, spend } from '../privacy/index.ts'
import { adapterFile } from '../zo/adapter.ts'
import { ReplayError, type ReplayPoint, replay, replayStart } from '../zo/replay.ts'
import { stateHash } from '../zo/state.ts'
import { hashHex, hashOf } from './canonical.ts'
import { runLog } from './chain.ts'
import { ROUNDING } from './dataset.ts'
import { readStanding, requireShown } from './dataset-audit.ts'
import { type Checkpoint, fromBase64 } from './note.ts'
import { resolvedSpec } from './public-work.ts'
import { AuditError, type AuditSource, fetched, ledgerChecked, readLog, type Signed } from './read.ts'
import type { RunRecord } from './record.ts'
import { verifyRun } from './verify.ts'

/** What one dataset has spent in the run. */
export interface AuditedSpend {
  readonly dataset: string
  readonly charges: number
  readonly reports: number
  /** Certified upper and lower bounds of epsilon, and that of Renyi divergences, at the delta of the run's budget. */
  readonly epsilon: number
  readonly lower: number
  readonly rdp: number
}

export interface Audit {
  readonly run: string
  readonly spec: RunSpec
  readonly specHash: string
  readonly records: readonly RunRecord[]
  /** How the run ended; null while it has not. */
  readonly outcome: 'completed' | 'cancelled' | 'budget_exhausted' | 'failed' | null
  readonly rounds: number
  /** Signed, and records after it that are not: there are some while a run goes on. */
  readonly checkpoint: Checkpoint
  /** The checkpoint as it was signed. */
  readonly note: string
  readonly unsigned: number
  /** By dataset, in the order of the spec. */
  readonly spent: readonly AuditedSpend[]
  /** Keys that reports were signed by, for those who know whose they are. */
  readonly signers: readonly { readonly worker: string; readonly dataset: string; readonly publicKey: string }[]
  /** Of the trained state after the last closed round. */
  readonly stateHash: string
  readonly adapter: { readonly key: string; readonly sha256: string; readonly bytes: number } | null
  /** Largest epsilon of any dataset after some rounds, evenly spaced. */
  readonly curve: readonly { readonly round: number; readonly epsilon: number; readonly rdp: number }[]
}

export interface AuditQuestion extends Signed {
  readonly run: string
}

/**
 * Audits a run by its log alone: the signed checkpoint and the tree under it, the form and the order of all records, a charge before
 * each report, the signature of each report, the update of each round, the trained state bit for bit, the adapter, and what
 * each dataset spent; and that the log of each dataset knows of every charge. Nothing is believed that the coordinator says
 * outside of its logs.
 * @throws AuditError naming the first object that does not hold, and why
 */
export async function auditRun(source: AuditSource, question: AuditQuestion): Promise<Audit> {
  const { run } = question
  const { note, checkpoint, records, head, at } = await readLog(source, runLog, run, question)
  const { spec } = ledgerChecked(() => verifyRun(records), at)
  if (records[0]?.type !== 'spec' || records[0].run !== run)
    throw new AuditError('forked', at(0), 'it is the log of another run')
  const specHash = hashOf(spec)
  await checkSignatures(records, { question, specHash, at })
  const point = replayed(spec, records, at)
  const end = records.find((record) => record.type === 'end')
  const unsigned = head.size - checkpoint.size
  if (end && unsigned > 0)
    throw new AuditError('unsigned_end', runLog.checkpointKey(run), 'the run ended after it was signed')
  const last = stateHash(point.state)
  if (end && end.stateHash !== last) throw new AuditError('wrong_state', at(end.seq), 'the run ends at another state')
  if (end?.adapter) await checkAdapter(source, end.adapter, { run, spec, records, specHash, point })
  const spent = spentBy(spec, records)
  for (const { dataset, epsilon } of spent) {
    if (epsilon > spec.budget.epsilon * (1 + ROUNDING))
      throw new AuditError('over_budget', at(records.length - 1), `dataset ${dataset} spent more than the run's budget`)
  }
  for (const { id } of spec.datasets) {
    const { standing, at } = await readStanding(source, id, question)
    requireShown(standing, { run, records }, at)
  }
  return {
    run,
    spec,
    specHash,
    records,
    outcome: end?.outcome ?? null,
    rounds: point.nextRound,
    checkpoint,
    note,
    unsigned,
    spent,
    signers: signersOf(records),
    stateHash: last,
    adapter: end?.adapter ?? null,
    curve: curveOf(spec, records),
  }
}

type Close = Extract<RunRecord, { type: 'close' }>
interface SignedBy {
  readonly question: AuditQuestion
  readonly specHash: string
  readonly at: (seq: number) => string
}

/** Every report carries a signature over what the log says of it, by the key that the log names. */
async function checkSignatures(records: readonly RunRecord[], { question, specHash, at }: SignedBy): Promise<void> {
  let before = stateHash(replayStart((records[0] as Extract<RunRecord, { type: 'spec' }>).spec).state)
  const check = async (seq: number, message: Uint8Array<ArrayBuffer>, by: { publicKey: string; signature: string }) => {
    const [key, signature] = [fromBase64(by.publicKey), fromBase64(by.signature)]
    const isGood = key?.length === 32 && signature?.length === 64 && (await question.verify(key, message, signature))
    if (!isGood) throw new AuditError('bad_report_signature', at(seq), `record ${seq}`)
  }
  for (const record of records) {
    if (record.type === 'close') {
      for (const { dataset, lease, integers, ...by } of record.reports) {
        const names = { run: question.run, specHash, lease, dataset, round: record.round, stateHash: before }
        await check(record.seq, reportBytes({ kind: 'round', ...names, integers }), by)
      }
      before = record.stateHash
    }
    if ((record.type === 'evaluation' || record.type === 'mask') && record.answer) {
      const { signature, ...report } = record.answer.report
      await check(record.seq, reportBytes(report), { signature, publicKey: record.answer.publicKey })
    }
  }
}

function replayed(spec: RunSpec, records: readonly RunRecord[], at: (seq: number) => string): ReplayPoint {
  const closes = records.filter((record): record is Close => record.type === 'close')
  try {
    return replay(resolvedSpec(spec, records), closes)
  } catch (error) {
    if (!(error instanceof ReplayError)) throw error
    const seq = closes.find(({ round }) => round === error.round)?.seq ?? 0
    throw new AuditError('wrong_state', at(seq), `round ${error.round}: ${error.code}`)
  }
}

interface Written {
  readonly run: string
  readonly spec: RunSpec
  readonly records: readonly RunRecord[]
  readonly specHash: string
  readonly point: ReplayPoint
}

/** The adapter in the bucket is the one that the log names, and that its last state leads to. */
async function checkAdapter(source: AuditSource, named: NonNullable<Audit['adapter']>, of: Written): Promise<void> {
  const bytes = await fetched(source, named.key)
  const made = adapterFile(
    { id: of.run, resolved: resolvedSpec(of.spec, of.records), specHash: of.specHash },
    of.point.state,
  )
  const isNamed = hashHex(bytes) === named.sha256 && bytes.length === named.bytes
  if (!isNamed || hashHex(made) !== named.sha256)
    throw new AuditError('wrong_adapter', named.key, isNamed ? 'the log leads to another' : 'the log names another')
}

type Charge = Extract<RunRecord, { type: 'charge' }>

const eventsOf = (charges: readonly Charge[]): EventCount[] => charges.map(({ event }) => ({ event, count: 1 }))

function chargesOf(records: readonly RunRecord[], dataset: string): Charge[] {
  return records.filter((record): record is Charge => record.type === 'charge' && record.dataset === dataset)
}

/** Datasets are mostly charged alike: one composition answers for all that are. */
function spentBy({ datasets, budget: { delta } }: RunSpec, records: readonly RunRecord[]): AuditedSpend[] {
  const known = new Map<string, { epsilon: number; lower: number; rdp: number }>()
  return datasets.map(({ id }) => {
    const charges = chargesOf(records, id)
    const events = eventsOf(charges)
    const key = canonicalHistory(events)
    const bounds = known.get(key) ?? { ...epsilonBounds(events, delta), rdp: spend(events, delta).epsilon }
    known.set(key, bounds)
    const reports = records.flatMap((record) => (record.type === 'close' ? record.reports : []))
    return {
      dataset: id,
      charges: charges.length,
      reports: reports.filter(({ dataset }) => dataset === id).length,
      ...bounds,
    }
  })
}

const CURVE_POINTS = 50

/** Of the dataset that was charged most often. */
function curveOf({ datasets, budget: { delta } }: RunSpec, records: readonly RunRecord[]): Audit['curve'] {
  const charges = datasets.map(({ id }) => chargesOf(records, id)).sort((a, b) => b.length - a.length)[0] ?? []
  const rounds = new Set(charges.map(({ round }) => round)).size
  const points = Math.min(rounds, CURVE_POINTS)
  return Array.from({ length: points }, (_, i) => {
    const round = Math.ceil(((i + 1) * rounds) / points)
    const events = eventsOf(charges.filter((charge) => charge.round < round))
    return { round, epsilon: epsilonBounds(events, delta).epsilon, rdp: spend(events, delta).epsilon }
  })
}

function signersOf(records: readonly RunRecord[]): Audit['signers'] {
  const found = new Map<string, Audit['signers'][number]>()
  for (const record of records) {
    if (record.type !== 'close') continue
    for (const { worker, dataset, publicKey } of record.reports)
      found.set(`${worker} ${publicKey}`, { worker, dataset, publicKey })
  }
  return [...found.values()]
}
