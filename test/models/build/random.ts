/** Weights without a training: cheap pseudo-random numbers, the same for a seed and a name on every machine. */

/** Writes elements `from`, `from + 1`, ... of a weight into `chunk`; called for consecutive chunks from 0 on. */
export type Fill = (chunk: Float32Array, from: number) => void

/** How the elements of a named weight with these dimensions are made. */
export type WeightSource = (name: string, dims: readonly number[]) => Fill

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

function hash(text: string, seed: number): number {
  let state = (FNV_OFFSET ^ seed) >>> 0
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), FNV_PRIME)
  // FNV moves little into the low bits of short texts; two rounds of multiply and shift spread it.
  state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d)
  return (state ^ (state >>> 13)) | 0
}

/** Uniform numbers in (-bound, bound) around `centre`: xorshift32 (Marsaglia 2003), 2 ns a number. */
function uniform(name: string, seed: number, { centre = 0, bound }: { centre?: number; bound: number }): Fill {
  let state = hash(name, seed) || 1
  const scale = bound / 2 ** 31
  return function fill(chunk) {
    let s = state
    for (let i = 0; i < chunk.length; i++) {
      s ^= s << 13
      s ^= s >>> 17
      s ^= s << 5
      chunk[i] = centre + s * scale
    }
    state = s
  }
}

const NORM_SPREAD = 0.1
const BIAS_SPREAD = 0.05

/**
 * Weights that keep activations near 1 through any depth: matrices and embeddings with standard deviation
 * 1 / sqrt(inputs), norms near 1, biases near 0; none is exactly 1 or 0, so that a forgotten one shows.
 * Linear layers are [inputs, outputs] where the exporter writes MatMul, [outputs, inputs] where it writes Gemm.
 */
export function randomWeights(seed: number): WeightSource {
  return (name, dims) => {
    if (dims.length === 1)
      return name.endsWith('bias')
        ? uniform(name, seed, { bound: BIAS_SPREAD })
        : uniform(name, seed, { centre: 1, bound: NORM_SPREAD })
    const turned = /embed|pooler|classifier|fc[12]/.test(name)
    return uniform(name, seed, { bound: Math.sqrt(3 / dims[turned ? 1 : 0]!) })
  }
}
