import { portableKernels, type ZoKernels } from './kernels.ts'

/**
 * The trained state: one flat vector of coordinates (a factor) for each stage begun, the last of them still moving.
 * The model is the base model plus what the factor of each stage stands for in its space (`scale * A V` of a site, or a
 * difference of weights), so that this is all there is to keep.
 */
export interface TrainedState {
  /** Index of the stage being trained. */
  readonly stage: number
  /** Factors of finished stages, each as long as its stage has coordinates. */
  readonly finished: readonly Float32Array[]
  /** Factor of the current stage, length d. */
  readonly current: Float32Array
  /** Velocity of heavy-ball momentum in this stage, length d; absent before its first update, and without momentum. */
  readonly velocity?: Float32Array
  /** Mean of the factors after each round of this stage, length d, where the stage is averaged. */
  readonly mean?: Float32Array
}

export function initialState(dimension: number): TrainedState {
  return { stage: 0, finished: [], current: new Float32Array(dimension) }
}

/** The state at the end of a stage: at the mean of its iterates where that is kept, else where it stands. */
export function settled({ stage, finished, current, mean }: TrainedState): TrainedState {
  return { stage, finished, current: mean ?? current }
}

/**
 * Ends a stage: its factor is kept as it stands, and the next stage starts at zero (the prox centre moves with it).
 * @param dimension of the next stage
 */
export function nextStage(state: TrainedState, dimension = state.current.length): TrainedState {
  return {
    stage: state.stage + 1,
    finished: [...state.finished, state.current],
    current: new Float32Array(dimension),
  }
}

/** Whether every entry of the moving factor is a finite number; those of finished stages were when they moved. */
export function isFiniteState({ current }: TrainedState): boolean {
  return current.every(Number.isFinite)
}

const HAS_VELOCITY = 1
const HAS_MEAN = 2

/** uint32: number of factors, what follows them (1 velocity, 2 mean), and the length of each factor. */
function headerOf({ finished, current, velocity, mean }: TrainedState): Uint32Array {
  const follows = (velocity ? HAS_VELOCITY : 0) | (mean ? HAS_MEAN : 0)
  return Uint32Array.from([finished.length + 1, follows, ...finished.map(({ length }) => length), current.length])
}

const vectorsOf = ({ finished, current, velocity, mean }: TrainedState): Float32Array[] => [
  ...finished,
  current,
  ...(velocity ? [velocity] : []),
  ...(mean ? [mean] : []),
]

/** Canonical bytes: the header, the factors in order of stage, velocity and mean where there are; all little-endian. */
export function stateBytes(state: TrainedState): Uint8Array {
  const header = headerOf(state)
  const vectors = vectorsOf(state)
  const length = vectors.reduce((sum, vector) => sum + vector.length, header.length)
  const bytes = new Uint8Array(4 * length)
  const view = new DataView(bytes.buffer)
  header.forEach((value, i) => {
    view.setUint32(4 * i, value, true)
  })
  let at = 4 * header.length
  for (const vector of vectors) {
    for (const value of vector) {
      view.setFloat32(at, value, true)
      at += 4
    }
  }
  return bytes
}

/** Reads what `stateBytes` wrote. @throws RangeError where the length does not fit the header. */
export function stateFromBytes(bytes: Uint8Array): TrainedState {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const odd = () => new RangeError('a trained state of another length')
  const word = (at: number): number => {
    if (4 * at + 4 > bytes.length) throw odd()
    return view.getUint32(4 * at, true)
  }
  const [count, follows] = [word(0), word(1)]
  if (count < 1 || follows > (HAS_VELOCITY | HAS_MEAN)) throw odd()
  // A count beyond the bytes ends at the first word that is not there.
  const lengths: number[] = []
  for (let stage = 0; stage < count; stage++) lengths.push(word(2 + stage))
  const last = lengths.at(-1)!
  const extra = [HAS_VELOCITY, HAS_MEAN].filter((flag) => follows & flag)
  const all = [...lengths, ...extra.map(() => last)]
  let at = 4 * (2 + count)
  if (bytes.length !== all.reduce((sum, length) => sum + 4 * length, at)) throw odd()
  const vectors = all.map((length) => {
    const start = at
    at += 4 * length
    return Float32Array.from({ length }, (_, i) => view.getFloat32(start + 4 * i, true))
  })
  const [first, second] = vectors.slice(count)
  const velocity = follows & HAS_VELOCITY ? first : undefined
  const mean = follows & HAS_MEAN ? (velocity ? second : first) : undefined
  return {
    stage: count - 1,
    finished: vectors.slice(0, count - 1),
    current: vectors[count - 1]!,
    ...(velocity ? { velocity } : {}),
    ...(mean ? { mean } : {}),
  }
}

const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1

/** The canonical bytes in parts, none of which is a copy where the machine's own order is the canonical one. */
function* stateParts(state: TrainedState): Generator<Uint8Array> {
  if (!LITTLE_ENDIAN) {
    yield stateBytes(state)
    return
  }
  for (const part of [headerOf(state), ...vectorsOf(state)])
    yield new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
}

/** SHA-256 of the canonical bytes, in hexadecimal: what `close` records carry and every replay must meet. */
export function stateHash(state: TrainedState, kernels: ZoKernels = portableKernels): string {
  return kernels.digest(stateParts(state))
}
