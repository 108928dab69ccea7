export { type Charge, DatasetActor, type Registration } from './dataset.ts'
