export {
  type Charge,
  type ChargeAnswer,
  DatasetActor,
  type DatasetPorts,
  type Registration,
  type Reservation,
  type ReserveAnswer,
} from './dataset.ts'
export type { RunTerms } from './policy.ts'
