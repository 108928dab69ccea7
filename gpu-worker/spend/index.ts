import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type Dataset, mechanismEventSchema } from '../../shared/api/index.ts'
import { canonicalJson, GENESIS, hashHex } from '../../shared/ledger/index.ts'
import {
  type Budget,
  distinctEvents,
  type EventCount,
  type MechanismEvent,
  RdpFilter,
} from '../../shared/privacy/index.ts'
import { WorkerError } from '../error.ts'
import { writeDurably } from '../outbox/index.ts'

/**
 * What this site has evaluated its data for, beside the data and whoever asks: one line a lease, written and synced before the data
 * are read, each with the hash of the line before. With the owner's lifetime budget it bounds what the site releases over
 * all runs, even where the coordinator's account is wrong, lost, or a lie.
 */
export interface SpendRecord {
  /**
   * Writes a lease down, unless it is there already: a lease is evaluated again only where nothing of it was sent.
   * @throws WorkerError `lifetime_spent` where it would exceed the budget; nothing is written then. `disk_full`
   */
  admit(lease: { id: string; run: string; event: MechanismEvent }, budget: Budget): void
  /** Releases so far, those of one event together. */
  history(): EventCount[]
}

const lineSchema = z.strictObject({
  prev: z.string(),
  run: z.string(),
  lease: z.string(),
  event: mechanismEventSchema,
})

/**
 * Opens the record of a folder. A last line that was cut off by a crash is dropped: its lease was not evaluated.
 * @throws WorkerError `spend_record_broken` where a line is missing, added or changed
 */
export function openSpend(folder: string): SpendRecord {
  const path = join(folder, 'spend.jsonl')
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  if (whole.length < text.length) truncateSync(path, Buffer.byteLength(whole))
  const leases = new Set<string>()
  let spent: EventCount[] = []
  let prev = GENESIS
  for (const line of whole.split('\n').slice(0, -1)) {
    const entry = entryOf(line)
    if (entry?.prev !== prev || leases.has(entry.lease)) throw broken(path)
    take(line, entry)
  }

  function take(line: string, { lease, event }: { lease: string; event: MechanismEvent }): void {
    leases.add(lease)
    spent = distinctEvents([...spent, { event, count: 1 }])
    prev = hashHex(line)
  }

  return {
    history: () => spent,
    admit: ({ id: lease, run, event }, budget) => {
      if (leases.has(lease)) return
      if (!new RdpFilter(budget, spent).canSpend({ event, count: 1 }).ok) {
        throw new WorkerError(
          'lifetime_spent',
          `the lifetime budget of this site (epsilon ${budget.epsilon}) is spent: nothing more is released, whatever the coordinator says; see --lifetime-epsilon`,
        )
      }
      const line = canonicalJson({ prev, run, lease, event })
      appendDurably(path, `${line}\n`)
      take(line, { lease, event })
    },
  }
}

function entryOf(line: string): z.infer<typeof lineSchema> | null {
  try {
    const entry = lineSchema.parse(JSON.parse(line))
    return canonicalJson(entry) === line ? entry : null
  } catch {
    return null
  }
}

const broken = (path: string) =>
  new WorkerError(
    'spend_record_broken',
    `${path} was changed by other hands: restore it, or ask who did; without it nobody knows what was spent`,
  )

function appendDurably(path: string, text: string): void {
  try {
    const file = openSync(path, 'a', 0o600)
    try {
      writeFileSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
  } catch (cause) {
    throw new WorkerError(
      'disk_full',
      `${path} can not be written: free space and start again, nothing was sent`,
      cause,
    )
  }
}

const pinSchema = z.strictObject({ epsilon: z.number().positive(), delta: z.number().positive() })

/**
 * The lifetime budget that a site keeps to: what its owner says, else what the dataset was registered with when the site first saw it:
 * a coordinator that raises it later does not raise it here.
 */
export function lifetimeOf(folder: string, dataset: Pick<Dataset, 'budget'>, said: Partial<Budget>): Budget {
  const path = join(folder, 'budget.json')
  if (!existsSync(path)) writeDurably(folder, path, canonicalJson(dataset.budget))
  const pinned = pinSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  return { epsilon: said.epsilon ?? pinned.epsilon, delta: said.delta ?? pinned.delta }
}
