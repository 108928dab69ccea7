export * from './problem.ts'
export * from './resources.ts'
export * from './signing.ts'
export * from './spec.ts'
