export { DataError } from '../data/index.ts'
export { WorkerError } from '../error.ts'
export { type CountAnswer, type CountQuestion, countPrivately } from './count.ts'
