import type { RunSpec } from '../shared/api/index.ts'
import type { StatisticSpace } from '../shared/zo/index.ts'
import { type DataLine, readUnits, sidesOf } from './data/index.ts'
import { type EncodedRecord, EngineError, openEngine } from './engine/index.ts'
import type { StatisticSite } from './loop.ts'
import { fitting, once, opened, rowsOf, type SiteSettings } from './site-rows.ts'

/** Both sides of a pair as the engine reads them; null where it does not fit the run's task. */
type Pair = readonly [chosen: EncodedRecord, rejected: EncodedRecord] | null

/**
 * The engine of a statistic over this site's data. What does not fit counts as nothing here too: its differences are no numbers,
 * and clipping makes nothing of them.
 */
export async function openStatisticSite(
  { task, space, seed }: Pick<RunSpec, 'task' | 'seed'> & { readonly space: StatisticSpace },
  modelDir: string,
  site: SiteSettings,
): Promise<StatisticSite> {
  const units = await readUnits(site.data, site)
  const { threads, device, log, keepsHalves } = site
  const kept = keepsHalves === undefined ? {} : { keepsHalves }
  const engine = await openEngine({ modelDir, task, space, seed, threads, device, ...kept })
  log({ event: 'engine_open', device: engine.device })
  const leaveOut = once(() => log({ event: 'units_left_out' }))
  const encode = (line: DataLine): Pair => {
    const sides = sidesOf(line)
    const pair = fitting((): Pair => sides && [engine.encode(sides[0]), engine.encode(sides[1])])
    if (!pair) leaveOut()
    return pair
  }
  const check = () => engine.warm({ directions: 1, sides: 'one' })
  const encoded = await opened(engine, async () => {
    await check()
    return units.map((lines) => lines.map(encode))
  })
  const reader = { width: space.size, make: engine.activations, check }
  return {
    units: encoded,
    differences: async (lines) => {
      const pairs = lines as readonly Pair[]
      const rows = await rowsOf(
        pairs.flatMap((pair) => pair ?? []),
        reader,
        leaveOut,
      )
      return differencesOf(pairs, rows, space.size)
    },
    setStage: async () => {},
    evaluate: async () => {
      throw new EngineError('wrong_stage', 'a statistic evaluates nothing')
    },
    close: () => engine.close(),
  }
}

/** Row of the chosen side minus that of the rejected one, for each pair; no numbers where there is none. */
function differencesOf(pairs: readonly Pair[], rows: readonly Float32Array[], size: number): Float32Array {
  const all = new Float32Array(pairs.length * size).fill(Number.NaN)
  let row = 0
  for (const [at, pair] of pairs.entries()) {
    if (!pair) continue
    const [chosen, rejected] = [rows[row]!, rows[row + 1]!]
    row += pair.length
    for (let i = 0; i < size; i++) all[at * size + i] = chosen[i]! - rejected[i]!
  }
  return all
}
