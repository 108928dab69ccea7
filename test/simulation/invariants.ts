import { verifyEd25519 } from '../../cli/audit/log.ts'
import {
  AuditError,
  auditDataset,
  auditRun,
  type DatasetRecord,
  datasetLog,
  EMPTY_LOG,
  type LogForm,
  type LogHead,
  leafHash,
  openCheckpoint,
  type Placed,
  type RunRecord,
  rootOf,
  runLog,
  sameBytes,
  verifyDataset,
  verifyRun,
} from '../../shared/ledger/index.ts'
import { treeOf } from '../../shared/ledger/merkle.ts'
import { odometer, RdpFilter } from '../../shared/privacy/index.ts'
import type { Operation } from './operations.ts'
import { DATASETS, type World } from './world.ts'

/** Something that must always hold, and does not. */
export class Violation extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'Violation'
  }
}

const require = (holds: boolean, message: string): void => {
  if (!holds) throw new Violation(message)
}

/** A log as far as it was read. */
interface Reading<R> {
  readonly records: R[]
  readonly lines: string[]
  head: LogHead
}

/** What was seen before: logs only grow, so that what was read of them need not be read again. */
export class Watch {
  readonly #seen = new Map<string, Uint8Array>()
  readonly #runs = new Map<string, Reading<RunRecord>>()
  readonly #datasets = new Map<string, Reading<DatasetRecord>>()
  #handed = 0
  #accepted = 0

  /** Everything that must hold after each operation. @throws Violation, LedgerError */
  async check(world: World): Promise<void> {
    this.#checkObjects(world)
    const isTold = world.accepted.size > this.#accepted
    this.#accepted = world.accepted.size
    const grown = world.created().filter((id) => this.#read(world, runLog, id, this.#runs))
    for (const id of isTold ? world.created() : grown) {
      const { records } = this.#runs.get(id)!
      if (records.length > 0) checkRun(world, id, records)
    }
    for (const id of DATASETS)
      if (this.#read(world, datasetLog, id, this.#datasets) || grown.length > 0)
        checkDataset(id, this.#datasets.get(id)!.records, this.#runs)
    for (const lease of world.handed.slice(this.#handed)) await checkLease(world, lease, this.#runs.get(lease.run)!)
    this.#handed = world.handed.length
  }

  datasetRecords(id: string): readonly DatasetRecord[] {
    return this.#datasets.get(id)?.records ?? []
  }

  /** An object of a log is written once. */
  #checkObjects({ objects: { objects } }: World): void {
    for (const [key, bytes] of objects) {
      if (!key.includes('/log/')) continue
      const before = this.#seen.get(key)
      require(!before || before === bytes || sameBytes(before, bytes), `${key} was changed`)
      this.#seen.set(key, bytes)
    }
    for (const key of this.#seen.keys()) require(objects.has(key), `${key} was removed`)
  }

  /** Reads what a log has in the bucket since the last time. @returns whether there was any @throws LedgerError */
  #read<R extends Placed, E extends object>(
    world: World,
    form: LogForm<R, E>,
    id: string,
    known: Map<string, Reading<R>>,
  ): boolean {
    const reading = known.get(id) ?? { records: [], lines: [], head: EMPTY_LOG }
    known.set(id, reading)
    const before = reading.head.size
    for (;;) {
      const bytes = world.objects.objects.get(form.segmentKey(id, reading.head.size))
      if (!bytes) return reading.head.size > before
      const text = Buffer.from(bytes).toString()
      const { records, head } = form.read(reading.head, text)
      reading.records.push(...records)
      reading.lines.push(...text.trimEnd().split('\n'))
      reading.head = head
    }
  }
}

/** Charges come before what they pay for, each report counts once, and none that was accepted is lost. */
function checkRun(world: World, id: string, records: readonly RunRecord[]): void {
  verifyRun(records)
  if (world.restored.has(id)) return
  const closes = records.flatMap((record) => (record.type === 'close' ? [record] : []))
  for (const { run, round, lease, integers } of world.accepted.values()) {
    const close = run === id && closes.find((each) => each.round === round)
    if (!close) continue
    const counted = close.reports.find((report) => report.lease === lease)
    require(counted?.integers.join() === integers.join(), `the report of ${lease} was accepted and is not in the log`)
  }
}

/** Spend stays within the budget, and the log of the dataset knows of every charge of every run. */
function checkDataset(
  id: string,
  records: readonly DatasetRecord[],
  runs: ReadonlyMap<string, Reading<RunRecord>>,
): void {
  const standing = verifyDataset(records)
  const { budget } = standing.dataset
  const committed = new RdpFilter(budget, [...standing.spent, ...standing.reserved]).epsilon()
  require(committed <= budget.epsilon, `dataset ${id} is over its budget`)
  for (const [run, { records }] of runs) {
    const charges = records.filter((record) => record.type === 'charge' && record.dataset === id).length
    const share = standing.runs.get(run)
    const count = (entries: readonly { count: number }[]) => entries.reduce((sum, each) => sum + each.count, 0)
    const shown = share ? count(share.charged.entries()) + count(share.left.entries()) : 0
    require(charges <= shown, `${run} charged dataset ${id} ${charges} times, of which its log shows ${shown}`)
  }
}

/** A worker that was handed a lease can see its charge in what was signed. */
async function checkLease(world: World, lease: World['handed'][number], log: Reading<RunRecord>): Promise<void> {
  const signer = { name: runLog.logName('simulation', lease.run), publicKey: world.publicKey }
  const { size, root } = await openCheckpoint(lease.note, signer, verifyEd25519)
  require(size <= log.records.length, `the checkpoint of lease ${lease.id} counts records that are not in the bucket`)
  const leaves = log.lines.slice(0, size).map(leafHash)
  require(sameBytes(rootOf(treeOf(leaves)), root), `the checkpoint of lease ${lease.id} is of another log`)
  if (lease.kind !== 'round') return
  const isCharged = log.records.slice(0, size).some((record) => record.type === 'charge' && record.lease === lease.id)
  require(isCharged, `lease ${lease.id} was handed out without a charge in the log`)
}

const signed = ({ publicKey }: World) => ({ name: 'simulation', publicKey, verify: verifyEd25519 })

/** One byte of one signed object is flipped: an audit of what it belongs to has to find it. @throws Violation */
export async function checkCorruption(
  world: World,
  { object, byte }: Extract<Operation, { op: 'corrupt' }>,
): Promise<void> {
  const { objects } = world.objects
  // Trained states are a cache that nobody has to believe.
  const keys = [...objects.keys()].filter((key) => !key.includes('/checkpoints/')).sort()
  const key = keys[object % keys.length]!
  const [folder, id] = key.split('/') as [string, string]
  if (!objects.has(`${folder}/${id}/checkpoint`)) return
  const audit = async (read: (at: string) => Uint8Array | undefined) => {
    const source = { read: async (at: string) => read(at) ?? null }
    return folder === 'runs'
      ? await auditRun(source, { run: id, ...signed(world) })
      : await auditDataset(source, { dataset: id, ...signed(world) })
  }
  const sound = await audit((at) => objects.get(at)).catch((error: unknown) => {
    // Between a run's last record and its signature, with the store out of reach.
    if (error instanceof AuditError && error.code === 'unsigned_end') return null
    throw error
  })
  // Records behind the checkpoint are nobody's word yet, nor is an adapter that no record names.
  if (!sound || sound.unsigned > 0 || (key.endsWith('.safetensors') && 'adapter' in sound && !sound.adapter)) return
  const flipped = objects.get(key)!.slice()
  flipped[byte % flipped.length]! ^= 1 << (byte % 8)
  const holds = await audit((at) => (at === key ? flipped : objects.get(at))).then(
    () => true,
    (error: unknown) => {
      if (!(error instanceof AuditError)) throw error
      return false
    },
  )
  require(!holds, `an audit did not find a flip in ${key}`)
}

/** After the end of all faults: every run that could end did, and every audit holds, to the figures that were told. @throws Violation, AuditError */
export async function checkEnd(world: World, watch: Watch): Promise<void> {
  const source = { read: async (key: string) => world.objects.objects.get(key) ?? null }
  const isTouched = world.restored.size > 0
  for (const [id, run] of world.runs) {
    const facts = await run.describe()
    if (!facts) continue
    const hasEnded = !['running', 'paused'].includes(facts.state)
    require(hasEnded || isTouched, `${id} did not end: ${facts.state}`)
    const isSound = facts.state !== 'failed'
    require(isSound || world.restored.has(id), `${id} failed: ${facts.reason}`)
    // Beside a dataset whose database was restored a run may stand still before it is signed.
    if (world.restored.has(id) || (isTouched && !(await source.read(runLog.checkpointKey(id))))) continue
    const audit = await auditRun(source, { run: id, ...signed(world) })
    if (!hasEnded) continue
    require(facts.stateHash === null || audit.stateHash === facts.stateHash, `${id}: the audit leads to another state`)
    for (const { dataset, epsilon, charges } of audit.spent) {
      const told = facts.spent.find((each) => each.dataset === dataset)!
      require(told.charges === charges &&
        told.epsilon === epsilon, `${id}: the audit has another epsilon of ${dataset}`)
    }
  }
  for (const [id, actor] of world.datasets) {
    const { spent, reserved, fault, budget } = actor.describe()!
    require(fault === null || isTouched, `dataset ${id}: ${fault}`)
    require(reserved.ofBudget <= budget.epsilon, `dataset ${id} told of more than its budget`)
    if (isTouched) continue
    const audit = await auditDataset(source, { dataset: id, ...signed(world) })
    require(audit.charges === spent.charges &&
      audit.reserved === reserved.charges, `dataset ${id}: the audit counts otherwise`)
    require(audit.epsilon === spent.epsilon, `dataset ${id}: the audit has another epsilon`)
    const standing = verifyDataset(watch.datasetRecords(id))
    require(odometer(standing.spent, budget.delta).epsilon ===
      spent.epsilon, `dataset ${id}: the log has another epsilon`)
    require(reserved.charges === 0, `dataset ${id}: ${reserved.charges} charges are still reserved`)
  }
}
