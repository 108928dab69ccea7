import type { RunSpec } from '../shared/api/index.ts'
import { groupCount, type Perturbation } from '../shared/zo/index.ts'
import { type DataLine, lineFor, readUnits } from './data/index.ts'
import { type DeviceWish, type EncodedRecord, EngineError, isLineFault, openEngine } from './engine/index.ts'
import type { Log } from './log.ts'
import type { SiteEngine } from './loop.ts'

/** A line as the engine reads it; null where it does not fit the run's task. */
type Line = EncodedRecord | null

/**
 * The engine over this site's data. What the run can not evaluate must not be seen from outside, or a run could ask by it: a
 * line that does not fit the run's task, or one that the model fails on, has losses that are no numbers, and its unit counts
 * as nothing.
 */
export async function openSiteEngine(
  spec: RunSpec,
  modelDir: string,
  site: {
    readonly data: string
    readonly unit: 'record' | 'user'
    readonly labels: readonly string[] | null
    readonly threads: number | 'auto'
    readonly device: DeviceWish
    readonly keepsHalves?: boolean
    readonly log: Log
  },
): Promise<SiteEngine> {
  const { task, space, seed } = spec
  const units = await readUnits(site.data, site)
  const { threads, device, keepsHalves } = site
  const kept = keepsHalves === undefined ? {} : { keepsHalves }
  const engine = await openEngine({ modelDir, task, space, seed, threads, device, ...kept })
  site.log({ event: 'engine_open', device: engine.device })
  const warm = async (stage: number): Promise<void> => {
    const { directions } = spec.stages[stage]!
    await engine.warm({ directions, sides: 'two' })
  }
  try {
    await warm(0)
  } catch (error) {
    await engine.close()
    throw error
  }
  const leaveOut = once(() => site.log({ event: 'units_left_out' }))
  const encode = (data: DataLine): Line => {
    try {
      const line = lineFor(task, data)
      if (line) return engine.encode(line)
    } catch (error) {
      if (!isLineFault(error)) throw error
    }
    leaveOut()
    return null
  }
  const nothing = (groups: number) => new Float32Array(groups).fill(Number.NaN)
  const lossesOf = async (records: readonly EncodedRecord[], at: Perturbation): Promise<Float32Array[]> => {
    const groups = groupCount(at)
    try {
      const losses = await engine.losses(records, at)
      return records.map((_, i) => losses.subarray(i * groups, (i + 1) * groups))
    } catch (error) {
      if (!(error instanceof EngineError && error.code === 'runtime_failed')) throw error
      leaveOut()
      if (records.length === 1) return [nothing(groups)]
      return (await Promise.all(records.map((record) => lossesOf([record], at)))).flat()
    }
  }
  const losses = async (lines: readonly Line[], at: Perturbation) => {
    const groups = groupCount(at)
    const rows = await lossesOf(
      lines.filter((line) => line !== null),
      at,
    )
    const all = new Float32Array(lines.length * groups)
    let row = 0
    for (const [i, line] of lines.entries()) all.set(line ? rows[row++]! : nothing(groups), i * groups)
    return all
  }
  return {
    units: units.map((lines) => lines.map(encode)),
    losses: (lines, at) => losses(lines as readonly Line[], at),
    setStage: async (stage, finished) => {
      await engine.setStage(stage, finished)
      await warm(stage)
    },
    close: () => engine.close(),
  }
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (!done) action()
    done = true
  }
}
