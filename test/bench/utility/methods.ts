import type { ScoreKind } from '../../../gpu-worker/engine/index.ts'
import type { Order, Preset } from '../../../shared/zo/index.ts'
import { PASSES, PASSES_OF_GRADIENT, passesOfRound, roundsFor } from './passes.ts'

/** What is tuned of a method; what is left out has the default of `expand`. */
export interface Setting {
  /** eta of the first stage. */
  readonly learningRate: number
  /** c */
  readonly clip: number
  /** K; default 1. */
  readonly directions?: number
  /** q; default `SAMPLING_RATE`. */
  readonly samplingRate?: number
  /** phi; default `RADIUS`. */
  readonly radius?: number
  /** Of a `lora` space. */
  readonly rank?: number
  /** Of a pruned space. */
  readonly keep?: number
  readonly score?: ScoreKind
  readonly order?: Order
}

/** For all methods: 61 of 1,024 records a round in expectation. */
export const SAMPLING_RATE = 0.06
export const RADIUS = 0.01

/** How a method is run: in which space, and with which preset of the product. */
export interface Method {
  readonly space: 'full' | 'pruned' | 'lora'
  readonly preset: 'dpzero' | 'dp-zo' | 'dp-zoso' | 'dp-zopo' | 'dp-aggzo' | 'sotto'
  /** `none` is NOT PRIVATE: the column that says what noise costs. */
  readonly noise: 'private' | 'none'
  /** Whose numbers it takes. */
  readonly settings: TunedMethod
  /** What it changes of them. */
  readonly change?: Partial<Setting>
}

export const TUNED_METHODS = ['dpzero', 'dp-zoso', 'dp-zopo', 'dp-aggzo', 'sotto', 'dp-sgd'] as const
export type TunedMethod = (typeof TUNED_METHODS)[number]

/** Methods of the engine; `zero-shot` and `dp-sgd` are besides. */
export const METHODS = {
  'no-noise-full': { space: 'full', preset: 'dp-aggzo', noise: 'none', settings: 'dp-aggzo' },
  'no-noise-lora': { space: 'lora', preset: 'sotto', noise: 'none', settings: 'sotto' },
  dpzero: { space: 'full', preset: 'dpzero', noise: 'private', settings: 'dpzero' },
  // The mechanism of dpzero but for the distribution of directions: it takes the same numbers.
  'dp-zo': { space: 'full', preset: 'dp-zo', noise: 'private', settings: 'dpzero' },
  'dp-zoso': { space: 'full', preset: 'dp-zoso', noise: 'private', settings: 'dp-zoso' },
  'dp-zopo': { space: 'pruned', preset: 'dp-zopo', noise: 'private', settings: 'dp-zopo' },
  'dp-zopo-magnitude': {
    ...{ space: 'pruned', preset: 'dp-zopo', noise: 'private', settings: 'dp-zopo' },
    change: { score: 'magnitude' },
  },
  'dp-zopo-random': {
    ...{ space: 'pruned', preset: 'dp-zopo', noise: 'private', settings: 'dp-zopo' },
    change: { score: 'random' },
  },
  'dp-aggzo': { space: 'full', preset: 'dp-aggzo', noise: 'private', settings: 'dp-aggzo' },
  sotto: { space: 'lora', preset: 'sotto', noise: 'private', settings: 'sotto' },
} as const satisfies Record<string, Method>

export const METHOD_NAMES = ['zero-shot', ...Object.keys(METHODS), 'dp-sgd'] as MethodName[]
export type EngineMethod = keyof typeof METHODS
export type MethodName = 'zero-shot' | EngineMethod | 'dp-sgd'

export const isEngineMethod = (name: MethodName): name is EngineMethod => name in METHODS

/** Rounds of a method with these numbers, at the forward passes that all methods have. */
export function roundsOf(method: MethodName, setting: Setting): number {
  const { directions = 1, samplingRate = SAMPLING_RATE } = setting
  const passesEach = method === 'dp-sgd' ? PASSES_OF_GRADIENT : passesOfRound(directions, 'two')
  return roundsFor({ samplingRate, passesEach }, PASSES)
}

/** The product's preset with these numbers; no private loss, which the bench does not look at. */
export function presetOf(name: EngineMethod, setting: Setting): Preset {
  const { preset } = METHODS[name]
  const { learningRate, clip, directions = 1, samplingRate = SAMPLING_RATE, radius = RADIUS } = setting
  const common = { samplingRate, rounds: roundsOf(name, setting), directions, clip, lossShare: 0 }
  switch (preset) {
    case 'dp-aggzo':
      return { name: preset, ...common, step: learningRate * clip, radius }
    case 'dp-zoso':
    case 'dp-zopo':
      return { name: preset, ...common, learningRate, radius: { start: radius, end: 3 * radius } }
    default:
      return { name: preset, ...common, learningRate, radius }
  }
}
