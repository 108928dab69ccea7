export { DataError } from '../data/index.ts'
export { EngineError } from '../engine/index.ts'
export { type Canaries, plantCanaries } from './plant.ts'
export { lowerBoundOf, NotScoredError, rightGuesses, type Scored, scoreCanaries } from './score.ts'
