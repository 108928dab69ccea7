import { EMPTY_LOG, type LogHead, type RunRecord, resolvedSpec, runLog, verifyRun } from '../shared/ledger/index.ts'
import { epsilonBounds } from '../shared/privacy/index.ts'
import { replay, type TrainedState } from '../shared/zo/index.ts'
import type { Client } from './client.ts'

/** What the log alone says, recomputed here as its segments are served; "sotto audit" checks signatures too, from the bucket. */
export interface Audit {
  readonly records: readonly RunRecord[]
  readonly head: LogHead
  readonly state: TrainedState
  /** Epsilon by dataset, composed from the charge records. */
  readonly epsilon: Record<string, number>
}

/** Downloads the whole log, checks its chain and its records, replays the model and composes the charges. */
export async function auditRun(client: Client, run: string): Promise<Audit> {
  const records: RunRecord[] = []
  let head: LogHead = EMPTY_LOG
  for (;;) {
    const { segments, head: claimed } = await client.updates(run, head.size)
    for (const { url } of segments) {
      const segment = runLog.read(head, new TextDecoder().decode(await client.download(url)))
      records.push(...segment.records)
      head = segment.head
    }
    if (head.size >= claimed.size) break
    if (segments.length === 0) throw new Error('the log ends before its head')
  }
  const { spec } = verifyRun(records)
  const { state } = replay(
    resolvedSpec(spec, records),
    records.filter((record) => record.type === 'close'),
  )
  const epsilon = Object.fromEntries(
    spec.datasets.map(({ id }) => {
      const charges = records.filter((record) => record.type === 'charge' && record.dataset === id)
      return [
        id,
        epsilonBounds(
          charges.flatMap((r) => (r.type === 'charge' ? [{ event: r.event, count: 1 }] : [])),
          spec.budget.delta,
        ).epsilon,
      ]
    }),
  )
  return { records, head, state, epsilon }
}
