import { portableKernels, type ZoKernels } from './kernels.ts'

/**
 * The trained state: one flat vector of coordinates (a factor) for each stage begun, the last of them still moving.
 * The model is the base model plus what the factor of each stage stands for in the space (`scale * A V` of a site, or a
 * difference of weights), so that this is all there is to keep.
 */
export interface TrainedState {
  /** Index of the stage being trained. */
  readonly stage: number
  /** Factors of finished stages, each of length d. */
  readonly finished: readonly Float32Array[]
  /** Factor of the current stage, length d. */
  readonly current: Float32Array
}

export function initialState(dimension: number): TrainedState {
  return { stage: 0, finished: [], current: new Float32Array(dimension) }
}

/** Ends a stage: its factor is kept as it stands, and the next stage starts at zero (the prox centre moves with it). */
export function nextStage(state: TrainedState): TrainedState {
  return {
    stage: state.stage + 1,
    finished: [...state.finished, state.current],
    current: new Float32Array(state.current.length),
  }
}

/** Whether every entry of the moving factor is a finite number; those of finished stages were when they moved. */
export function isFiniteState({ current }: TrainedState): boolean {
  return current.every(Number.isFinite)
}

/** Canonical bytes: uint32 stages, uint32 d, then the float32 factors in order of stage, all little-endian. */
export function stateBytes(state: TrainedState): Uint8Array {
  const factors = [...state.finished, state.current]
  const dimension = state.current.length
  const bytes = new Uint8Array(8 + 4 * dimension * factors.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, factors.length, true)
  view.setUint32(4, dimension, true)
  let at = 8
  for (const factor of factors) {
    for (const value of factor) {
      view.setFloat32(at, value, true)
      at += 4
    }
  }
  return bytes
}

/** Reads what `stateBytes` wrote. @throws RangeError where the length does not fit the header. */
export function stateFromBytes(bytes: Uint8Array): TrainedState {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 8) throw new RangeError('a trained state has a header of 8 bytes')
  const count = view.getUint32(0, true)
  const dimension = view.getUint32(4, true)
  if (count < 1 || bytes.length !== 8 + 4 * dimension * count) throw new RangeError('a trained state of another length')
  const factors = Array.from({ length: count }, (_, stage) => {
    const factor = new Float32Array(dimension)
    for (let i = 0; i < dimension; i++) factor[i] = view.getFloat32(8 + 4 * (stage * dimension + i), true)
    return factor
  })
  return { stage: count - 1, finished: factors.slice(0, -1), current: factors[count - 1]! }
}

const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1

/** The canonical bytes in parts, none of which is a copy where the machine's own order is the canonical one. */
function* stateParts(state: TrainedState): Generator<Uint8Array> {
  if (!LITTLE_ENDIAN) {
    yield stateBytes(state)
    return
  }
  yield new Uint8Array(new Uint32Array([state.finished.length + 1, state.current.length]).buffer)
  for (const factor of [...state.finished, state.current])
    yield new Uint8Array(factor.buffer, factor.byteOffset, factor.byteLength)
}

/** SHA-256 of the canonical bytes, in hexadecimal: what `close` records carry and every replay must meet. */
export function stateHash(state: TrainedState, kernels: ZoKernels = portableKernels): string {
  return kernels.digest(stateParts(state))
}
