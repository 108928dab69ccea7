import type { EncodedRecord } from './setup.ts'

/** Copies of the first record fill up a call: its shape, and so the kernels that run, are always the same. */
export function filledUp(records: readonly EncodedRecord[], members: number): EncodedRecord[] {
  return Array.from({ length: members }, (_, at) => records[at] ?? records[0]!)
}
