import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  auditRun,
  canonicalJson,
  EntryTooLongError,
  entryBundles,
  hashTiles,
  leafHash,
} from '../../shared/ledger/index.ts'
import { RunError } from '../failure.ts'
import { dataLine, writeResult } from '../output.ts'
import type { TilesGiven } from './command.ts'
import { auditing, checkedId, signedBy } from './log.ts'
import { openSource } from './source.ts'

/** `sotto audit tiles`. @throws InputError, UnreachableError, RunError */
export async function tilesOf(run: string, given: TilesGiven): Promise<void> {
  const source = await openSource(given.from)
  const audit = await auditing({ run }, () => auditRun(source, { run: checkedId(run), ...signedBy(given) }))
  const lines = audit.records.slice(0, audit.checkpoint.size).map(canonicalJson)
  const hashes = hashTiles(lines.map(leafHash))
  const bundles = bundlesOf(lines)
  const files = [...hashes, ...(bundles ?? []), ['checkpoint', new TextEncoder().encode(audit.note)] as const]
  try {
    for (const [path, bytes] of files) {
      mkdirSync(dirname(join(given.output, path)), { recursive: true })
      writeFileSync(join(given.output, path), bytes)
    }
  } catch (error) {
    throw new RunError(
      `${given.output} cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`,
    )
  }
  const told = {
    run,
    size: audit.checkpoint.size,
    tiles: hashes.size,
    bundles: bundles?.size ?? null,
    output: given.output,
  }
  const what = bundles ? `${bundles.size} bundles of entries` : 'no bundles: a record is longer than they take'
  writeResult(
    given.json ? dataLine(told) : `${hashes.size} tiles, ${what}, and the checkpoint are in ${given.output}.\n`,
  )
}

/** Null where a record is longer than the format takes: then there are hashes alone. */
function bundlesOf(lines: readonly string[]): Map<string, Uint8Array> | null {
  try {
    return entryBundles(lines)
  } catch (error) {
    if (error instanceof EntryTooLongError) return null
    throw error
  }
}
