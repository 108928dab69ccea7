import { createHash } from 'node:crypto'
import type { Command } from 'commander'
import { asking, type ConnectionGiven, withCoordinator } from '../connection/index.ts'
import { RunError, UnreachableError } from '../failure.ts'
import { writeResult } from '../output.ts'

interface PullGiven extends ConnectionGiven {
  readonly output?: string
}

/** Adds the verbs of `sotto adapter`. */
export const describeAdapter = (noun: Command): void => {
  asking(
    noun
      .command('pull')
      .description('the adapter of a run that has completed, as safetensors')
      .argument('<run>', 'its id')
      .option('--output <file>', 'left out: RUN.safetensors'),
    '  sotto adapter pull run-0123456789abcdef --output adapter.safetensors',
  ).action(async (id: string, given: PullGiven) => await pull(id, given))
}

async function pull(id: string, given: PullGiven): Promise<void> {
  await withCoordinator(given, async ({ api, answer, tell, url, signal }) => {
    const { adapter, state } = await answer(api.v1.runs[':id'].$get({ param: { id } }))
    if (!adapter) throw new RunError(`run ${id} has no adapter: it is ${state}`)
    const response = await fetch(new URL(adapter.url, url), { signal })
    if (!response.ok) throw new UnreachableError(`the store answered ${response.status}`)
    const bytes = new Uint8Array(await response.arrayBuffer())
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    if (sha256 !== adapter.sha256)
      throw new RunError(`what the store has is not the adapter of ${id}: it has another hash`)
    const file = given.output ?? `${id}.safetensors`
    writeResult(bytes, file)
    tell({ file, sha256, bytes: bytes.length }, `${bytes.length} bytes, SHA-256 ${sha256}, are in ${file}.\n`)
  })
}
