export { DataError, type DataErrorCode, type DataPlace } from './error.ts'
export {
  type CompletionLine,
  type DataLine,
  type Form,
  formOf,
  type Line,
  lineFor,
  type Message,
  type MessagesLine,
  type PreferenceLine,
  sidesOf,
  type TextLine,
} from './line.ts'
export { readUnits, type UnitOptions } from './units.ts'
