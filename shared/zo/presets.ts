import { keepRateAt } from './pruning/rate.ts'
import type { Remake, Stage } from './schedule.ts'
import type { Distribution, RunSpace } from './space.ts'

/**
 * The methods of the field as settings of one mechanism: what each expands to is an explicit schedule, which is what a run
 * logs. Defaults are those that the authors published, where they make sense in single precision; formulas in the docs of each.
 */

/** What a preset leaves to the plan (grid, noise) is not in here. */
export type DraftStage = Pick<
  Stage,
  | 'rounds'
  | 'learningRate'
  | 'radius'
  | 'directions'
  | 'clip'
  | 'samplingRate'
  | 'prox'
  | 'lossShare'
  | 'lossBound'
  | 'clipShare'
  | 'prune'
>

export interface Expansion {
  readonly clipping: 'joint' | 'joint-l1' | 'per-direction'
  readonly noise: 'gaussian' | 'laplace'
  readonly sides: 'two' | 'one'
  readonly distribution: Distribution
  /** `pure`: the noise is chosen for epsilon alone, at delta 0. */
  readonly guarantee: 'approximate' | 'pure'
  readonly stages: readonly DraftStage[]
}

/** What every preset takes: all of its numbers, each with a default of its own but the sampling rate. */
interface Common {
  /** q: batch over units. */
  readonly samplingRate: number
  /** T, all stages together. */
  readonly rounds?: number | undefined
  /** eta of the first stage. */
  readonly learningRate?: number | undefined
  /** K */
  readonly directions?: number | undefined
  /** c */
  readonly clip?: number | undefined
  readonly lossShare?: number | undefined
  readonly lossBound?: number | undefined
  readonly clipShare?: number | undefined
}

export interface DpZosoPreset extends Common {
  readonly name: 'dp-zoso'
  /** S */
  readonly stages?: number | undefined
  /** phi of the first stage and of the last; geometric between. */
  readonly radius?: { readonly start: number; readonly end: number } | undefined
  /** gamma */
  readonly prox?: number | undefined
}

export interface DpZopoPreset extends Omit<DpZosoPreset, 'name'> {
  readonly name: 'dp-zopo'
  /** Masks made anew for the stages after the first: the dynamic strategy, and with a keep rate that grows the incremental one. */
  readonly prune?:
    | (Omit<Remake, 'keep'> & { readonly keep: number | { readonly start: number; readonly end: number } })
    | undefined
}

export interface DpZeroPreset extends Common {
  readonly name: 'dpzero'
  readonly radius?: number | undefined
}

export interface DpZoPreset extends Common {
  readonly name: 'dp-zo'
  readonly noise?: 'gaussian' | 'laplace' | undefined
  readonly radius?: number | undefined
}

export interface DpAggZoPreset extends Omit<Common, 'learningRate'> {
  readonly name: 'dp-aggzo'
  /** eta c: where almost every unit is clipped the two act as one, and are tuned as one. */
  readonly step?: number | undefined
  readonly radius?: number | undefined
}

export interface SottoPreset extends Common {
  readonly name: 'sotto'
  readonly radius?: number | undefined
}

/** A statistic, in one round. */
export interface PsaPreset {
  readonly name: 'psa'
  readonly samplingRate: number
  readonly clip?: number | undefined
  readonly clipShare?: number | undefined
}

export type Preset = DpZosoPreset | DpZopoPreset | DpZeroPreset | DpZoPreset | DpAggZoPreset | SottoPreset | PsaPreset

/** A preset whose numbers contradict each other. */
export class PresetError extends RangeError {
  override readonly name = 'PresetError'
  /** Names the field, never a value. */
  readonly field: string
  constructor(field: string) {
    super(`preset: ${field}`)
    this.field = field
  }
}

const LOSS = { lossShare: 0, lossBound: 2 }
const lossOf = ({
  lossShare = LOSS.lossShare,
  lossBound = LOSS.lossBound,
}: Pick<Common, 'lossShare' | 'lossBound'>) => ({
  lossShare,
  lossBound,
})

/**
 * T split into S stages of T_0, 2 T_0, 4 T_0, ...; what rounding leaves over goes to the last.
 * @throws PresetError where a stage would have no round
 */
function doubling(rounds: number, stages: number): number[] {
  const first = Math.floor(rounds / (2 ** stages - 1))
  if (first < 1) throw new PresetError('rounds: fewer than the doubling stages need')
  const before = Array.from({ length: stages - 1 }, (_, s) => first * 2 ** s)
  return [...before, rounds - before.reduce((sum, each) => sum + each, 0)]
}

/** T split into S equal stages; the first ones take what is left over. @throws PresetError */
function equal(rounds: number, stages: number): number[] {
  if (rounds < stages) throw new PresetError('rounds: fewer than stages')
  return Array.from({ length: stages }, (_, s) => Math.floor(rounds / stages) + (s < rounds % stages ? 1 : 0))
}

/** From `start` to `end` in equal ratios. */
const geometric = ({ start, end }: { start: number; end: number }, at: number, of: number): number =>
  of === 1 ? start : start * (end / start) ** (at / (of - 1))

/**
 * DP-ZOSO (arXiv 2402.07818): rounds double and the rate halves from stage to stage, the radius grows from start to end, a prox
 * term pulls to where the stage began, each of P finite differences is clipped by itself. Published: S 3, T_0 1000 capped at
 * 6000 rounds, eta 2e-5, gamma 5e-4, C 30, P 1. Its radius of 1e-6 is below what single precision resolves: 1e-3 to 1e-2 here.
 * DP-ZOPO is the same in a pruned space, its mask kept or made anew from stage to stage.
 */
function dpZoso(preset: DpZosoPreset | DpZopoPreset): Expansion {
  const { stages = 3, rounds = 6000, learningRate = 2e-5, prox = 5e-4, clip = 30, directions = 1 } = preset
  const { radius = { start: 1e-3, end: 1e-2 }, samplingRate } = preset
  return {
    ...{ clipping: 'per-direction', noise: 'gaussian', sides: 'two', distribution: 'binomial' },
    guarantee: 'approximate',
    stages: doubling(rounds, stages).map((own, s) => ({
      rounds: own,
      learningRate: learningRate * 2 ** -s,
      radius: geometric(radius, s, stages),
      ...{ directions, clip, samplingRate, prox },
      ...lossOf(preset),
      ...remadeAt(preset, s, stages),
    })),
  }
}

/** The new mask of a stage after the first, where a preset wants them. */
function remadeAt(preset: DpZosoPreset | DpZopoPreset, stage: number, stages: number): Pick<DraftStage, 'prune'> {
  if (preset.name !== 'dp-zopo' || !preset.prune || stage === 0) return {}
  const { keep, ...prune } = preset.prune
  if (typeof keep === 'number') return { prune: { ...prune, keep } }
  return { prune: { ...prune, keep: keepRateAt({ ...keep, stages, growth: 'geometric' }, stage) } }
}

/** One stage without prox. */
function single(preset: Common, own: Pick<DraftStage, 'rounds' | 'learningRate' | 'radius' | 'directions' | 'clip'>) {
  const { samplingRate } = preset
  return [{ ...own, samplingRate, prox: 0, ...lossOf(preset) }]
}

/** DPZero (arXiv 2310.09639): one direction on the sphere of radius sqrt(d), its difference clipped. Published: T 10000, C 200. */
function dpZero(preset: DpZeroPreset): Expansion {
  const { rounds = 10_000, learningRate = 1e-6, radius = 1e-3, directions = 1, clip = 200 } = preset
  return {
    ...{ clipping: 'per-direction', noise: 'gaussian', sides: 'two', distribution: 'sphere' },
    guarantee: 'approximate',
    stages: single(preset, { rounds, learningRate, radius, directions, clip }),
  }
}

/**
 * DP-ZO (arXiv 2401.04343): the scalar step privatised, with Gaussian noise, or with Laplace noise for epsilon without delta. The
 * published clip of 0.05 on the raw gap is 25 in finite differences at radius 1e-3.
 */
function dpZo(preset: DpZoPreset): Expansion {
  const { noise = 'gaussian', rounds = 10_000, learningRate = 1e-6, radius = 1e-3, directions = 1, clip = 25 } = preset
  return {
    ...{ clipping: 'per-direction', noise, sides: 'two', distribution: 'binomial' },
    guarantee: noise === 'laplace' ? 'pure' : 'approximate',
    stages: single(preset, { rounds, learningRate, radius, directions, clip }),
  }
}

/** beta_clip of DP-AggZO: c = beta_clip / sqrt(K) keeps the injected variance the same for any K. */
const AGGZO_CLIP = 100

/** DP-AggZO (USENIX Security 2025): K directions, their vector clipped as one. Published: T 1000, K 64, eta c about 4e-4. */
function dpAggZo(preset: DpAggZoPreset): Expansion {
  const { rounds = 1000, step = 4e-4, radius = 1e-3, directions = 64 } = preset
  const { clip = AGGZO_CLIP / Math.sqrt(directions) } = preset
  return {
    ...{ clipping: 'joint', noise: 'gaussian', sides: 'two', distribution: 'binomial' },
    guarantee: 'approximate',
    stages: single(preset, { rounds, learningRate: step / clip, radius, directions, clip }),
  }
}

/** Rates of the stages of `sotto` over the first. */
const SOTTO_RATES = [1, 0.3, 0.1]

/**
 * What did best here: one clip for the vector, signs, factors refreshed from stage to stage (LOZO, arXiv 2410.07698), a falling
 * rate, and a private loss to look at. For a `lora` space whose sites have scales near 1; see docs/benchmarks.md.
 */
function sotto(preset: SottoPreset): Expansion {
  const { rounds = 250, learningRate = 0.3, radius = 0.01, directions = 64, clip = 0.1, samplingRate } = preset
  const { lossShare = 0.2, lossBound = LOSS.lossBound } = preset
  return {
    ...{ clipping: 'joint', noise: 'gaussian', sides: 'two', distribution: 'rademacher' },
    guarantee: 'approximate',
    stages: equal(rounds, SOTTO_RATES.length).map((own, s) => ({
      rounds: own,
      learningRate: learningRate * SOTTO_RATES[s]!,
      ...{ radius, directions, clip, samplingRate, lossShare, lossBound },
      prox: 0,
    })),
  }
}

/**
 * PSA (private steering for alignment, arXiv 2501.18532): the mean of activation differences, each clipped as one vector, plus
 * Gaussian noise. Every unit takes part: q 1. Differences are as long as the model makes them: c is best chosen on public pairs.
 */
function psa({ clip = 1, samplingRate }: PsaPreset, space: RunSpace | undefined): Expansion {
  if (space?.kind !== 'statistic') throw new PresetError('name: psa is of a statistic, no space is trained')
  return {
    ...{ clipping: 'joint', noise: 'gaussian', sides: 'one', distribution: 'rademacher' },
    guarantee: 'approximate',
    stages: [{ rounds: 1, learningRate: 1, radius: 1, directions: space.size, clip, samplingRate, prox: 0, ...LOSS }],
  }
}

/**
 * The explicit schedule that a preset stands for.
 * @example expandPreset({ name: 'dp-aggzo', samplingRate: 0.04 }).stages[0].clip // 12.5
 * @param space of the run, whose size is the number of directions of `psa`.
 * @throws PresetError where its numbers contradict each other
 */
export function expandPreset(preset: Preset, space?: RunSpace): Expansion {
  const { clipShare } = preset
  const expansion = preset.name === 'psa' ? psa(preset, space) : expanded(preset)
  if (clipShare === undefined) return expansion
  return { ...expansion, stages: expansion.stages.map((stage) => ({ ...stage, clipShare })) }
}

function expanded(preset: Exclude<Preset, PsaPreset>): Expansion {
  switch (preset.name) {
    case 'dp-zoso':
    case 'dp-zopo':
      return dpZoso(preset)
    case 'dpzero':
      return dpZero(preset)
    case 'dp-zo':
      return dpZo(preset)
    case 'dp-aggzo':
      return dpAggZo(preset)
    case 'sotto':
      return sotto(preset)
  }
}
