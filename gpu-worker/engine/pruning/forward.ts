import { elementsOf, PRUNING_ROUNDS, pruningDirection, type WeightTensor } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import type { Model } from '../evaluate/model.ts'
import { KernelMemory, perturbSegment } from '../kernels/index.ts'
import { rounded } from '../kernels/memory.ts'
import { AbsoluteModel, makeAbsolute } from './absolute.ts'

/**
 * The forward score of DP-ZOPO (arXiv 2402.07818): data-free, forward passes alone. theta are the absolute weights, R the sum
 * of all outputs for one repeated token.
 *
 *   g1_j   finite difference of R at theta along z1_j, both sides, radius r
 *   theta' theta + (r / q) sum_j g1_j z1_j
 *   g2_j   the same at theta' along new directions z2_j
 *   S      (1 / q) sum_j ((g2_j z2_j - g1_j z1_j) / r) |theta|
 *
 * R is divided by the sum of the outputs without their signs, at theta. As published it is not divided: it grows with the
 * vocabulary, the length and each layer of absolute weights, so that the step to theta' would be of any size, and leave
 * float32 in large models. Divided, the step is that of a model whose outputs are of size 1 together, whatever the model.
 *
 * The slopes g1, g2 alone come from the runtime, whose last bits differ between kinds of machine. They are cut to 1/64 to
 * 1/128 of the largest, which is far below what the choice of directions makes them vary by, and seldom shows those
 * bits. Everything behind them is float32 in a stated order, the same everywhere: with the slopes at hand `forwardScores`
 * gives the scores without the runtime.
 *
 * With Rademacher directions and q = 1 (as published) a score is |theta| times one of two numbers, whichever signs z1 and z2
 * have there; more queries tell entries apart further.
 */

export interface ForwardSettings {
  /** q */
  readonly queries: number
  /** r */
  readonly radius: number
  /** Length of the repeated token. */
  readonly tokens: number
}

/** Finite differences of the score, one for each query. */
export interface Slopes {
  readonly first: readonly number[]
  readonly second: readonly number[]
}

export interface ScoredWeights {
  readonly seed: string
  /** Each stage has its own directions. */
  readonly stage: number
  readonly tensors: readonly WeightTensor[]
  /** Current weights of a tensor, a copy that the caller may change. */
  weightsOf(tensor: WeightTensor): Float32Array
}

/** Absolute weights and a second vector of the same size: all of the memory that a score takes, 8 bytes for each entry. */
class ScoreMemory {
  readonly #memory: KernelMemory
  readonly #at: ScoredWeights
  readonly center: readonly Float32Array<ArrayBuffer>[]
  readonly out: readonly Float32Array<ArrayBuffer>[]

  /** @throws EngineError `out_of_memory` */
  constructor(at: ScoredWeights) {
    const lengths = at.tensors.map(elementsOf)
    const memory = new KernelMemory(2 * lengths.reduce((sum, length) => sum + rounded(4 * length), 0))
    this.#memory = memory
    this.#at = at
    this.center = lengths.map((length) => memory.floats(length))
    this.out = lengths.map((length) => memory.floats(length))
  }

  /** Absolute weights, in both vectors. */
  load(): void {
    this.#at.tensors.forEach((tensor, t) => {
      this.center[t]!.set(makeAbsolute(this.#at.weightsOf(tensor)))
      this.out[t]!.set(this.center[t]!)
    })
  }

  /** to <- from + step * z, of query j. */
  move(vectors: { from: 'center' | 'out'; to: 'center' | 'out' }, which: 'first' | 'second', j: number, step: number) {
    const { seed, stage } = this.#at
    this.#at.tensors.forEach((_, segment) => {
      const at = { seed, round: PRUNING_ROUNDS[which], k: pruningDirection(stage, j), segment }
      perturbSegment(
        this.#memory,
        { out: this[vectors.to][segment]!, center: this[vectors.from][segment]! },
        at,
        Math.fround(step),
      )
    })
  }
}

const OUT = { from: 'center', to: 'out' } as const
const CENTER = { from: 'center', to: 'center' } as const
const SUM = { from: 'out', to: 'out' } as const

/** Parts of the largest slope that are told apart, at least. */
const SLOPE_PARTS = 64

/** Slopes as multiples of a power of two; exact in float32. @throws EngineError `no_score` where all are 0. */
export function cutSlopes(slopes: readonly number[]): number[] {
  const most = Math.max(...slopes.map(Math.abs))
  if (!(most > 0 && Number.isFinite(most)))
    throw new EngineError(
      'no_score',
      'the outputs do not depend on these weights: choose others, or score by magnitude',
    )
  // Found by doubling: a logarithm has other last bits elsewhere.
  let grid = 1
  while (grid * SLOPE_PARTS * 2 <= most) grid *= 2
  while (grid * SLOPE_PARTS > most) grid /= 2
  return slopes.map((slope) => Math.round(slope / grid) * grid || 0)
}

/**
 * Runs the model 4 q + 1 times.
 * @param step called after each run.
 * @throws EngineError `no_score` where outputs are not finite, or none depends on the weights.
 */
export async function forwardSlopes(
  model: Model,
  at: ScoredWeights,
  { queries, radius, tokens }: ForwardSettings,
  step = (): void => {},
): Promise<Slopes> {
  const memory = new ScoreMemory(at)
  const chosen = new Map(at.tensors.map(({ name }, t) => [name, memory.out[t]!]))
  const absolute = await AbsoluteModel.open(model, chosen, tokens)
  const outputSum = async () => {
    const made = await absolute.outputSum()
    step()
    return made
  }
  try {
    memory.load()
    const { size } = await outputSum()
    const slopes = async (which: 'first' | 'second'): Promise<number[]> => {
      const made: number[] = []
      for (let j = 0; j < queries; j++) {
        memory.move(OUT, which, j, radius)
        const plus = (await outputSum()).sum
        memory.move(OUT, which, j, -radius)
        made.push((plus - (await outputSum()).sum) / (2 * radius * size))
      }
      return cutSlopes(made)
    }
    const first = await slopes('first')
    first.forEach((g, j) => {
      memory.move(CENTER, 'first', j, (radius / queries) * g)
    })
    return { first, second: await slopes('second') }
  } finally {
    await absolute.release()
  }
}

/** The scores that these slopes give: bit for bit the same on every machine. @throws EngineError `out_of_memory` */
export function forwardScores(
  at: ScoredWeights,
  { queries, radius }: Pick<ForwardSettings, 'queries' | 'radius'>,
  slopes: Slopes,
): Float32Array[] {
  const memory = new ScoreMemory(at)
  memory.load()
  for (const sums of memory.out) sums.fill(0)
  const share = 1 / (queries * radius)
  slopes.second.forEach((g, j) => {
    memory.move(SUM, 'second', j, g * share)
  })
  slopes.first.forEach((g, j) => {
    memory.move(SUM, 'first', j, -g * share)
  })
  memory.out.forEach((scores, t) => {
    const theta = memory.center[t]!
    for (let i = 0; i < scores.length; i++) scores[i]! *= theta[i]!
  })
  return [...memory.out]
}
