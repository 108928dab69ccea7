// AssemblyScript, not TypeScript: compiled by `npm run kernels` to zo.wasm. The reference for every function is in shared/zo;
// each must give the same bits. Pointers are byte offsets into a memory that the host lays out; `scratch` is 20 KiB that are
// nobody else's.

export { accumulateLowRank, perturbLowRank } from './low-rank'
export { merge } from './merge'
export { accumulateBytes, numbers, perturbBytes, sumSquares } from './numbers'
export { add, addKept, perturb, perturbKept, perturbPair } from './perturb'
export { signs, stream } from './threefry'
export { clear, step, updateSigns } from './update'
