import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type Dataset, type LogIdentity, type Report, reportBytes, type UnsignedReport } from '../shared/api/index.ts'
import { canonicalJson } from '../shared/ledger/index.ts'
import type { Budget } from '../shared/privacy/index.ts'
import { WorkerError } from './error.ts'
import { type Outbox, openOutbox, writeDurably } from './outbox/index.ts'
import { lifetimeOf, openSpend, type SpendRecord } from './spend/index.ts'

/** A worker's folder beside its data: its key, its outbox, the specs it agreed to. */
export interface Site {
  /** Raw Ed25519 public key, base64. */
  readonly publicKey: string
  readonly outbox: Outbox
  /** What was ever evaluated here. */
  readonly spend: SpendRecord
  /** Downloaded models, one folder each. */
  readonly modelsFolder: string
  signReport(report: UnsignedReport): Report
  /** The spec hash agreed to for a run: the first one stays. @throws WorkerError `spec_mismatch` for any other. */
  pinSpec(run: string, specHash: string): void
  /** Whose logs this worker believes: the first one stays. @throws WorkerError `log_key_changed` for any other. */
  pinLog(log: LogIdentity): void
  /** The lifetime budget that this site keeps to. */
  lifetime(dataset: Pick<Dataset, 'budget'>, said: Partial<Budget>): Budget
  close(): void
}

/** Opens the folder for this process alone. @throws WorkerError `state_locked` while another live process has it. */
export function openSite(folder: string): Site {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const unlock = lockFolder(folder)
  const key = loadKey(folder)
  const pinsPath = join(folder, 'specs.json')
  const pins = new Map<string, string>(
    existsSync(pinsPath) ? Object.entries(JSON.parse(readFileSync(pinsPath, 'utf8'))) : [],
  )
  return {
    publicKey: rawPublicKey(key),
    outbox: openOutbox(join(folder, 'outbox')),
    spend: openSpend(folder),
    lifetime: (dataset, said) => lifetimeOf(folder, dataset, said),
    modelsFolder: join(folder, 'models'),
    signReport: (report) => ({ ...report, signature: sign(null, reportBytes(report), key).toString('base64') }),
    pinSpec: (run, specHash) => {
      const pinned = pins.get(run)
      if (pinned === specHash) return
      if (pinned !== undefined)
        throw new WorkerError('spec_mismatch', `run ${run} is offered under another spec than the one agreed to`)
      // Its seed is part of a spec: the same spec under another name would spend its budget twice.
      if ([...pins.values()].includes(specHash)) {
        throw new WorkerError('spec_mismatch', `run ${run} is offered under the spec of another run`)
      }
      pins.set(run, specHash)
      writeDurably(folder, pinsPath, canonicalJson(Object.fromEntries(pins)))
    },
    pinLog: ({ name, publicKey }) => {
      const path = join(folder, 'log.json')
      const pinned = existsSync(path) ? readFileSync(path, 'utf8') : null
      const text = canonicalJson({ name, publicKey })
      if (pinned === text) return
      if (pinned !== null)
        throw new WorkerError(
          'log_key_changed',
          `the coordinator signs its logs by another key or name than the one in ${path}: ask its operator, and remove the file if that is right`,
        )
      writeDurably(folder, path, text)
    },
    close: unlock,
  }
}

function loadKey(folder: string): KeyObject {
  const path = join(folder, 'key.pem')
  if (!existsSync(path)) {
    const { privateKey } = generateKeyPairSync('ed25519')
    writeDurably(folder, path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  }
  return createPrivateKey(readFileSync(path))
}

function rawPublicKey(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' })
  return Buffer.from(x ?? '', 'base64url').toString('base64')
}

/**
 * An SQLite file under an exclusive transaction: the operating system drops the lock when the process dies, however it dies,
 * so that a killed worker's folder is free at once and a live one's never is.
 */
function lockFolder(folder: string): () => void {
  const database = new DatabaseSync(join(folder, 'lock.sqlite'), { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    throw new WorkerError(
      'state_locked',
      `${folder} is in use by another process: give each worker a --state folder of its own`,
      cause,
    )
  }
  return () => database.close()
}
