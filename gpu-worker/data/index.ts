export { DataError, type DataErrorCode } from './error.ts'
export { type DataLine, readUnits, type UnitOptions } from './units.ts'
