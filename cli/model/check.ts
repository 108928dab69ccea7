import {
  EngineError,
  type Examination,
  type ExaminedModel,
  examineModel,
  inspectModel,
  type ModelInspection,
  measureForward,
  measureRound,
} from '../../gpu-worker/engine/index.ts'

/** Ranks that the number of trained coordinates is told for. */
export const RANKS = [1, 4, 8] as const

export interface CheckOptions {
  readonly variant?: string
  readonly tokens: number
  readonly speed: boolean
}

export interface Speed {
  /** Tokens a second of the model as exported, one thread. */
  readonly forwardTokens: number
  /**
   * Records times directions times sides a second, of a round that trains all layers at rank 4; null if it cannot run.
   */
  readonly roundSequences: number | null
  /** How a round runs: one record under many directions, several records under one, or one under one. */
  readonly lead: string | null
  /** Why a round does not run, or runs one by one. */
  readonly reason: string | null
}

export interface Check {
  readonly model: ModelInspection
  readonly spaces: {
    /** Trained coordinates d of all sites together, by rank. */
    readonly lora: { readonly dimension: Readonly<Record<string, number>> }
    readonly full: { readonly tensors: number; readonly dimension: number }
  }
  readonly memory: {
    /** Length of the records. */
    readonly tokens: number
    readonly weightBytes: number
    /** Of one record. */
    readonly activationBytes: number
    /** Node that keeps records out of one call; null where there is none. */
    readonly oneByOne: string | null
  }
  readonly speed: Speed | null
}

/** Long enough for a steady clock, short enough to wait for. */
const SECONDS = 1

const roundSpeed = async (examined: ExaminedModel): Promise<Omit<Speed, 'forwardTokens'>> => {
  try {
    const { sequences, lead, reason } = await measureRound(examined, SECONDS)
    return { roundSequences: sequences, lead, reason: reason ?? null }
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    return { roundSequences: null, lead: null, reason: error.message }
  }
}

const spacesOf = ({ sites, weights }: ModelInspection): Check['spaces'] => ({
  lora: {
    dimension: Object.fromEntries(
      RANKS.map((rank) => [rank, sites.reduce((sum, { inputs }) => sum + inputs * rank, 0)] as const),
    ),
  },
  full: { tensors: weights.length, dimension: weights.reduce((sum, { parameters }) => sum + parameters, 0) },
})

const memoryOf = (model: ModelInspection, tokens: number, examination: Examination): Check['memory'] => ({
  tokens,
  weightBytes: model.bytes.weights,
  activationBytes: examination.activationBytes,
  oneByOne: examination.oneByOne ?? null,
})

/** How often a check tells that it got on. */
export const STEPS = { withoutSpeed: 2, withSpeed: 4 } as const

/** Looks at a model. @throws EngineError for what the engine refuses. */
export const checkModel = async (modelDir: string, options: CheckOptions, step = (): void => {}): Promise<Check> => {
  const variant = options.variant === undefined ? {} : { variant: options.variant }
  const model = await inspectModel(modelDir, variant)
  step()
  const tokens = Math.min(options.tokens, model.positions ?? options.tokens)
  const examined: ExaminedModel = { modelDir, ...variant, inspection: model, tokens }
  const examination = await examineModel(examined)
  step()
  const known = { model, spaces: spacesOf(model), memory: memoryOf(model, tokens, examination) }
  if (!options.speed) return { ...known, speed: null }
  const forwardTokens = await measureForward(examined, SECONDS)
  step()
  const round = await roundSpeed(examined)
  step()
  return { ...known, speed: { forwardTokens, ...round } }
}
