import type { RunSpec } from '../shared/api/index.ts'
import { groupCount, type Perturbation } from '../shared/zo/index.ts'
import { type DataLine, lineFor, readUnits } from './data/index.ts'
import { type EncodedRecord, type Engine, openEngine } from './engine/index.ts'
import { evaluateRecords, publicRecords } from './evaluation.ts'
import type { SiteEngine, TrainingSite } from './loop.ts'
import { type Masks, maskedSpaces } from './masks.ts'
import { fitting, nothing, once, opened, rowsOf, type SiteSettings } from './site-rows.ts'
import { openStatisticSite } from './site-statistic.ts'

/** A line as the engine reads it; null where it does not fit the run's task. */
type Line = EncodedRecord | null

/** The engine over this site's data, for whatever a run is about. */
export async function openSiteEngine(
  spec: RunSpec,
  modelDir: string,
  site: SiteSettings,
  made: Masks = new Map(),
): Promise<SiteEngine> {
  const { space } = spec
  if (space.kind === 'statistic') return await openStatisticSite({ ...spec, space }, modelDir, site)
  return await openTrainingSite(spec, modelDir, site, made)
}

/**
 * The engine of a run that trains. What the run can not evaluate must not be seen from outside, or a run could ask by it: a
 * line that does not fit the run's task, or one that the model fails on, has losses that are no numbers, and its unit counts
 * as nothing.
 */
export async function openTrainingSite(
  spec: RunSpec,
  modelDir: string,
  site: SiteSettings,
  made: Masks = new Map(),
): Promise<TrainingSite> {
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
    const line = lineFor(task, data)
    const record = fitting(() => line && engine.encode(line))
    if (!record) leaveOut()
    return record
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

/** Losses of lines, those that count as nothing among them. */
function lossesOfLines(engine: Engine, leaveOut: () => void) {
  return async (lines: readonly Line[], at: Perturbation): Promise<Float32Array> => {
    const width = groupCount(at)
    const records = lines.filter((line) => line !== null)
    const check = () => engine.warm({ directions: at.directions, sides: at.sides })
    const rows = await rowsOf(records, { width, check, make: (some) => engine.losses(some, at) }, leaveOut)
    const all = new Float32Array(lines.length * width)
    let row = 0
    for (const [i, line] of lines.entries()) all.set(line ? rows[row++]! : nothing(width), i * width)
    return all
  }
}
