import { canonicalJson } from '../ledger/canonical.ts'
import { type UnsignedReport, unsignedReportSchema } from './lease.ts'

/** Keeps a report's signature from meaning anything elsewhere. */
const DOMAIN = 'sotto-report-v1\n'

/** The bytes a worker signs: a domain line, then the canonical JSON of the report without its signature. */
export function reportBytes(report: UnsignedReport): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(DOMAIN + canonicalJson(unsignedReportSchema.parse(report))))
}
