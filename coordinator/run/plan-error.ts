import type { z } from 'zod'

/** Why a request can not become a run. */
export class PlanError extends Error {
  readonly code: 'budget_impossible' | 'bad_request'
  /** Names of fields, never values. */
  readonly fields: string
  constructor(code: PlanError['code'], fields: string, cause?: unknown) {
    super(`plan: ${code}: ${fields}`, { cause })
    this.name = 'PlanError'
    this.code = code
    this.fields = fields
  }
}

/** The fields that a schema refuses, or what it says of the whole. */
export function fieldsOf(error: z.ZodError): string {
  return [...new Set(error.issues.map((issue) => issue.path.join('.') || issue.message))].join(', ')
}
