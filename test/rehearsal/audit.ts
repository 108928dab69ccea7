import { EMPTY_LOG, type LogHead, type RunRecord, resolvedSpec, runLog } from '../../shared/ledger/index.ts'
import { type EventCount, epsilonBounds, odometer } from '../../shared/privacy/index.ts'
import { replay, stateHash } from '../../shared/zo/index.ts'
import type { Client } from './client.ts'

export interface AuditedLog {
  readonly records: RunRecord[]
  readonly head: LogHead
}

/** Reads a run's whole log by its signed URLs, checking every record. */
export async function readLog(client: Client, run: string): Promise<AuditedLog> {
  const { body } = await client.get(`/v1/runs/${run}/updates?after=0`)
  const texts: string[] = []
  for (const { url } of body.segments) texts.push(await (await fetch(url)).text())
  return readTexts(texts)
}

export function readTexts(texts: readonly string[]): AuditedLog {
  const records: RunRecord[] = []
  let head = EMPTY_LOG
  for (const text of texts) {
    const segment = runLog.read(head, text)
    records.push(...segment.records)
    head = segment.head
  }
  return { records, head }
}

/** What an auditor finds: the state that the log leads to, epsilon by dataset, and that every report was charged before. */
export function auditLog(records: readonly RunRecord[]): {
  stateHash: string
  /** Of the run, whose schedule was fixed beforehand. */
  epsilon: Record<string, number>
  /** Of the dataset, were this its only run. */
  odometer: Record<string, number>
} {
  const first = records[0]
  if (first?.type !== 'spec') throw new Error('no spec record')
  const charged = new Set<string>()
  const events = new Map<string, EventCount[]>()
  for (const record of records) {
    if (record.type === 'charge') {
      if (charged.has(record.lease)) throw new Error('charged twice')
      charged.add(record.lease)
      events.set(record.dataset, [...(events.get(record.dataset) ?? []), { event: record.event, count: 1 }])
    }
    if (record.type !== 'close') continue
    if (record.reports.some((report) => !charged.has(report.lease))) throw new Error('a report without a charge')
  }
  const closes = records.filter((record) => record.type === 'close')
  const { delta } = first.spec.budget
  const byDataset = (epsilonOf: (list: EventCount[]) => number) =>
    Object.fromEntries([...events].map(([id, list]) => [id, epsilonOf(list)]))
  return {
    stateHash: stateHash(replay(resolvedSpec(first.spec, records), closes).state),
    epsilon: byDataset((list) => epsilonBounds(list, delta).epsilon),
    odometer: byDataset((list) => odometer(list, delta).epsilon),
  }
}
