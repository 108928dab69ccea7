import { createHash } from 'node:crypto'
import type { Run } from '../../shared/api/index.ts'
import type { Session } from '../connection/index.ts'
import { RunError, UnreachableError } from '../failure.ts'

/** The adapter of a run, whose bytes have the hash that the run names. @throws RunError, UnreachableError, SottoError */
export async function adapterOf(
  id: string,
  { api, answer, url, signal }: Session,
): Promise<{ bytes: Uint8Array; sha256: string; run: Run }> {
  const run = await answer(api.v1.runs[':id'].$get({ param: { id } }))
  const { adapter, state } = run
  if (!adapter) throw new RunError(`run ${id} has no adapter: it is ${state}`)
  const response = await fetch(new URL(adapter.url, url), { signal })
  if (!response.ok) throw new UnreachableError(`the store answered ${response.status}`)
  const bytes = new Uint8Array(await response.arrayBuffer())
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (sha256 !== adapter.sha256)
    throw new RunError(`what the store has is not the adapter of ${id}: it has another hash`)
  return { bytes, sha256, run }
}
