import type { RunSpec } from '../shared/api/index.ts'
import { readUnits } from './data/index.ts'
import { EngineError, type EngineRecord, openEngine } from './engine/index.ts'
import type { Log } from './log.ts'
import type { SiteEngine } from './loop.ts'

/** A line as the engine reads it; null where the run has no such label. */
type Line = EngineRecord | null

/**
 * The engine over this site's data. What the run can not evaluate must not be seen from outside, or a run could ask by it: a
 * line without a known label, or one that the model fails on, has losses that are no numbers, and its unit counts as nothing.
 */
export async function openSiteEngine(
  spec: RunSpec,
  modelDir: string,
  site: { data: string; unit: 'record' | 'user'; labels: readonly string[] | null; threads: number; log: Log },
): Promise<SiteEngine> {
  const { task, space, seed } = spec
  const units = await readUnits(site.data, site)
  const engine = await openEngine({ modelDir, task, space, seed, threads: site.threads })
  const leaveOut = once(() => site.log({ event: 'units_left_out' }))
  const encode = ({ text, label }: { text: string; label: string }): Line => {
    if (Object.hasOwn(task.labels, label)) return { encoded: engine.encode(text), label }
    leaveOut()
    return null
  }
  const nothing = (groups: readonly unknown[]) => new Float32Array(groups.length).fill(Number.NaN)
  const lossesOf = async (
    records: readonly EngineRecord[],
    groups: readonly Float32Array[],
  ): Promise<Float32Array[]> => {
    const rowsOf = (losses: Float32Array) =>
      records.map((_, i) => losses.subarray(i * groups.length, (i + 1) * groups.length))
    try {
      return rowsOf(await engine.losses(records, groups))
    } catch (error) {
      if (!(error instanceof EngineError && error.code === 'runtime_failed')) throw error
      leaveOut()
      if (records.length === 1) return [nothing(groups)]
      return (await Promise.all(records.map((record) => lossesOf([record], groups)))).flat()
    }
  }
  const losses = async (lines: readonly Line[], groups: readonly Float32Array[]) => {
    const rows = await lossesOf(
      lines.filter((line) => line !== null),
      groups,
    )
    const all = new Float32Array(lines.length * groups.length)
    let row = 0
    for (const [i, line] of lines.entries()) all.set(line ? rows[row++]! : nothing(groups), i * groups.length)
    return all
  }
  return {
    units: units.map((lines) => lines.map(encode)),
    losses: (lines, groups) => losses(lines as readonly Line[], groups),
    setStage: (stage, finished) => engine.setStage(stage, finished),
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
