import type { RunSpec } from '../shared/api/index.ts'
import { groupCount, type Perturbation } from '../shared/zo/index.ts'
import { type DataLine, lineFor, readUnits } from './data/index.ts'
import {
  type DeviceWish,
  type EncodedRecord,
  type Engine,
  isCallFault,
  isLineFault,
  openEngine,
} from './engine/index.ts'
import { evaluateRecords, publicRecords } from './evaluation.ts'
import type { Log } from './log.ts'
import type { SiteEngine } from './loop.ts'
import { type Masks, maskedSpaces } from './masks.ts'

/** A line as the engine reads it; null where it does not fit the run's task. */
type Line = EncodedRecord | null

/** What a site brings: its data, and where it evaluates. */
interface SiteSettings {
  readonly data: string
  readonly unit: 'record' | 'user'
  readonly labels: readonly string[] | null
  readonly threads: number | 'auto'
  readonly device: DeviceWish
  readonly keepsHalves?: boolean
  readonly log: Log
}

/**
 * The engine over this site's data. What the run can not evaluate must not be seen from outside, or a run could ask by it: a
 * line that does not fit the run's task, or one that the model fails on, has losses that are no numbers, and its unit counts
 * as nothing.
 */
export async function openSiteEngine(
  spec: RunSpec,
  modelDir: string,
  site: SiteSettings,
  made: Masks = new Map(),
): Promise<SiteEngine> {
  const { task, sides } = spec
  const units = await readUnits(site.data, site)
  const engine = await openFor(spec, { modelDir, made }, site)
  site.log({ event: 'engine_open', device: engine.device })
  const warm = async (stage: number): Promise<void> => {
    const { directions } = spec.stages[stage]!
    await engine.warm({ directions, sides })
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
  const encoded = await opened(engine, async () => {
    await warm(0)
    return units.map((lines) => lines.map(encode))
  })
  const losses = lossesOfLines(engine, leaveOut)
  let publicly: EncodedRecord[] | undefined
  return {
    units: encoded,
    losses: (lines, at) => losses(lines as readonly Line[], at),
    setStage: async (stage, finished) => {
      await engine.setStage(stage, finished)
      await warm(stage)
    },
    evaluate: async (center) => {
      publicly ??= await publicRecords(spec, modelDir, engine)
      return await evaluateRecords(engine, publicly, { task, center })
    },
    close: () => engine.close(),
  }
}

/** The engine of a run: its spaces, stage by stage, with their masks, up to the first mask that is not made yet. */
function openFor(
  spec: RunSpec,
  { modelDir, made }: { modelDir: string; made: Masks },
  { threads, device, keepsHalves }: SiteSettings,
): Promise<Engine> {
  const { task, seed } = spec
  const [first, ...later] = maskedSpaces(spec, modelDir, made)
  const kept = keepsHalves === undefined ? {} : { keepsHalves }
  return openEngine({ modelDir, task, ...first!, later, seed, threads, device, ...kept })
}

const nothing = (groups: number): Float32Array => new Float32Array(groups).fill(Number.NaN)

/**
 * Losses of lines, those that count as nothing among them. Records that the model fails on are found by halves. Whether it is
 * the model that fails on a record, or the engine on everything, is asked of padding, which is nobody's: how a failure names
 * itself is the model's to choose, and an engine that ends over one record would tell of it.
 */
function lossesOfLines(engine: Engine, leaveOut: () => void) {
  const lossesOf = async (records: readonly EncodedRecord[], at: Perturbation): Promise<Float32Array[]> => {
    const groups = groupCount(at)
    try {
      const losses = await engine.losses(records, at)
      return records.map((_, i) => losses.subarray(i * groups, (i + 1) * groups))
    } catch (error) {
      if (!isCallFault(error)) throw error
      await engine.warm({ directions: at.directions, sides: at.sides })
      leaveOut()
      if (records.length === 1) return [nothing(groups)]
      const half = records.length >> 1
      return [...(await lossesOf(records.slice(0, half), at)), ...(await lossesOf(records.slice(half), at))]
    }
  }
  return async (lines: readonly Line[], at: Perturbation): Promise<Float32Array> => {
    const groups = groupCount(at)
    const records = lines.filter((line) => line !== null)
    const rows = await lossesOf(records, at)
    const all = new Float32Array(lines.length * groups)
    let row = 0
    for (const [i, line] of lines.entries()) all.set(line ? rows[row++]! : nothing(groups), i * groups)
    return all
  }
}

/** What is still to do when an engine is open; where it fails, the engine is closed again. */
async function opened<T>(engine: Engine, todo: () => Promise<T>): Promise<T> {
  try {
    return await todo()
  } catch (error) {
    await engine.close()
    throw error
  }
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (!done) action()
    done = true
  }
}
