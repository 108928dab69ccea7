import { verify } from 'node:crypto'
import { type Lease, type LogIdentity, type MaskReport, type RunSpec, runSpecSchema } from '../shared/api/index.ts'
import {
  EMPTY_LOG,
  fromBase64,
  type Hash,
  hashOf,
  LedgerError,
  type LogHead,
  NoteError,
  openCheckpoint,
  type RunRecord,
  rootOf,
  runLog,
  sameBytes,
  type VerifyEd25519,
} from '../shared/ledger/index.ts'
import { advance, ReplayError, type ReplayPoint, replayStart, stateHash, withMask } from '../shared/zo/index.ts'
import type { Coordinator } from './coordinator.ts'
import { wasmKernels } from './engine/kernels/index.ts'
import { WorkerError } from './error.ts'
import type { Charge } from './policy.ts'

/** A run as this worker has verified it, from the first record to the newest it has read. */
export interface FollowedRun {
  readonly id: string
  readonly spec: RunSpec
  /** The spec with the masks that are made so far. */
  resolved: RunSpec
  readonly specHash: string
  head: LogHead
  /** Leaves of the log's tree. */
  readonly leaves: Hash[]
  point: ReplayPoint
  /** Closed rounds at the newest evaluation. */
  evaluated: number | null
  /** Masks that were made anew, in the order of their stages. */
  readonly masks: MaskReport[]
  /** Charges of this worker's dataset. */
  readonly charges: Charge[]
}

/**
 * Reads the log from its first record: the spec must hash to what the lease names. The trained state is replayed, not
 * downloaded, so that nobody has to be trusted for it.
 * @throws WorkerError `spec_mismatch` or `log_mismatch`.
 */
export async function followRun(coordinator: Coordinator, lease: Lease): Promise<FollowedRun> {
  const { segments } = await coordinator.updates(lease.run, 0)
  const first = segments[0]
  if (!first) throw new WorkerError('log_mismatch', `the log of ${lease.run} is empty`)
  const { records } = readLog(EMPTY_LOG, await coordinator.download(first.url), lease.run)
  const opening = records[0]
  if (opening?.type !== 'spec' || opening.run !== lease.run)
    throw new WorkerError('log_mismatch', `the log of ${lease.run} does not begin with its spec`)
  const spec = runSpecSchema.parse(opening.spec)
  const specHash = hashOf(spec)
  if (specHash !== lease.specHash)
    throw new WorkerError('spec_mismatch', `the lease of ${lease.run} names another spec than the log`)
  const point = replayStart(spec)
  const fresh = { head: EMPTY_LOG, leaves: [], point, evaluated: null, masks: [], charges: [] }
  return { id: lease.run, spec, resolved: spec, specHash, ...fresh }
}

/** Catches up to the log that holds the lease's charge. @throws WorkerError `log_mismatch` where the log forks, lies or ends before. */
export async function catchUp(
  run: FollowedRun,
  lease: Lease,
  site: { dataset: string; coordinator: Coordinator; log: LogIdentity },
): Promise<void> {
  if (run.head.size === lease.head.size) await checkNote(run, lease, site.log)
  while (run.head.size < lease.head.size) {
    const { segments } = await site.coordinator.updates(run.id, run.head.size)
    if (segments.length === 0)
      throw new WorkerError('log_mismatch', `the log of ${run.id} ends before the lease's charge`)
    for (const { url } of segments) {
      const { records, leaves, head } = readLog(run.head, await site.coordinator.download(url), run.id)
      for (const record of records) apply(run, record, site.dataset)
      run.leaves.push(...leaves)
      run.head = head
      if (head.size === lease.head.size && head.hash !== lease.head.hash) {
        throw new WorkerError('log_mismatch', `the log of ${run.id} is another than the lease names`)
      }
      if (head.size === lease.head.size) await checkNote(run, lease, site.log)
    }
  }
}

/**
 * A lease is worth what the log says that it rests on, and the log is that of which the coordinator signed the tree: it can not
 * show another one to anybody else without having signed both.
 * @throws WorkerError `log_mismatch`
 */
async function checkNote(run: FollowedRun, { note, head }: Lease, log: LogIdentity): Promise<void> {
  const signer = { name: `${log.name}/${run.id}`, publicKey: fromBase64(log.publicKey)! }
  try {
    const { size, root } = await openCheckpoint(note, signer, verifyEd25519)
    if (size === head.size && sameBytes(root, rootOf(run.head.tree))) return
  } catch (cause) {
    if (!(cause instanceof NoteError)) throw cause
    throw new WorkerError('log_mismatch', `the checkpoint of the log of ${run.id} is refused: ${cause.code}`, cause)
  }
  throw new WorkerError('log_mismatch', `the checkpoint of the log of ${run.id} is that of another log`)
}

export const verifyEd25519: VerifyEd25519 = async (publicKey, message, signature) => {
  const key = { key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' } as const
  return verify(null, message, key, signature)
}
/** What stands before a raw Ed25519 key in SubjectPublicKeyInfo (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

function readLog(head: LogHead, bytes: Uint8Array, run: string): ReturnType<typeof runLog.read> {
  try {
    return runLog.read(head, new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    const code = cause instanceof LedgerError ? cause.code : 'not_canonical'
    throw new WorkerError('log_mismatch', `a segment of the log of ${run} is refused: ${code}`, cause)
  }
}

function apply(run: FollowedRun, record: RunRecord, dataset: string): void {
  if (record.type === 'charge' && record.dataset === dataset) run.charges.push(record)
  if (record.type === 'evaluation') run.evaluated = record.round
  if (record.type === 'mask') applyMask(run, record.answer.report)
  if (record.type !== 'close') return
  try {
    run.point = advance(run.resolved, run.point, record, wasmKernels)
  } catch (cause) {
    throw new WorkerError(
      'log_mismatch',
      `round ${record.round} of ${run.id} can not be replayed: ${cause instanceof ReplayError ? cause.code : 'refused'}`,
      cause,
    )
  }
  if (stateHash(run.point.state, wasmKernels) !== record.stateHash) {
    throw new WorkerError(
      'log_mismatch',
      `round ${record.round} of ${run.id} leads to another state than its record says`,
    )
  }
}

function applyMask(run: FollowedRun, report: MaskReport): void {
  try {
    run.resolved = withMask(run.resolved, report.stage, report)
    run.masks.push(report)
  } catch (cause) {
    throw new WorkerError('log_mismatch', `the mask of stage ${report.stage} of ${run.id} does not fit its spec`, cause)
  }
}
