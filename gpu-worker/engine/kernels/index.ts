export { KernelMemory } from './memory.ts'
export { mergeProduct } from './merge.ts'
export {
  type DirectionAt,
  fillDirection,
  lowRankBytes,
  lowRankRoom,
  perturbKept,
  perturbLowRank,
  perturbPair,
  perturbSegment,
  VectorKernels,
} from './perturb.ts'
export { wasmKernels } from './update.ts'
