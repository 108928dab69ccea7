import { z } from 'zod'

/** Stable problem types (RFC 9457): `https://sotto.dev/problems/<code>`. The caller's next step is part of each title. */
export const PROBLEMS = {
  bad_request: { status: 400, title: 'The request does not fit its schema; correct it.' },
  unauthenticated: { status: 401, title: 'Send a valid bearer token.' },
  forbidden: { status: 403, title: 'This token has not the scope for that; use another.' },
  not_found: { status: 404, title: 'No such thing; check the id.' },
  unknown_dataset: { status: 404, title: 'Register the dataset first: POST /v1/datasets.' },
  unknown_model: { status: 404, title: 'Register the model and upload its files first: POST /v1/models.' },
  conflict: { status: 409, title: 'It exists with other content; read it and decide.' },
  report_conflict: { status: 409, title: 'Another report was stored for this lease; drop yours.' },
  lease_closed: {
    status: 409,
    title: 'The lease is void or its round closed; drop the report and take the next lease.',
  },
  run_ended: { status: 409, title: 'The run has ended; nothing more can be done with it.' },
  bad_signature: { status: 422, title: 'The report is not signed by the enrolled key of the worker.' },
  bad_report: { status: 422, title: 'The report does not fit its lease; drop it.' },
  budget_impossible: {
    status: 422,
    title: 'No noise fits that budget; raise epsilon or delta, or lower rounds or sampling rate.',
  },
  dataset_budget_exceeded: { status: 422, title: 'A dataset has not that much budget left; ask for less.' },
  dataset_frozen: { status: 409, title: 'The owner of a dataset has frozen it; wait, or leave it out.' },
  policy_refused: {
    status: 422,
    title: 'The owner of a dataset does not allow such a run; change what is named, or leave it out.',
  },
  ledger_fault: {
    status: 500,
    title:
      'The log of a dataset in the bucket is not that of the database: nothing is charged until its operator sees to it.',
  },
  too_large: { status: 413, title: 'The body is too large.' },
  object_too_large: { status: 413, title: 'The object is too large to be passed through; read it from the store.' },
  rate_limited: { status: 429, title: 'Too many requests; wait as Retry-After says.' },
  identity_unavailable: { status: 503, title: 'The identity provider of this token is out of reach; retry later.' },
  store_unavailable: {
    status: 503,
    title: 'The object store refuses or is out of reach; retry later, nothing is lost.',
  },
  unavailable: {
    status: 503,
    title: 'A part of the coordinator is moving to another machine; retry as Retry-After says, nothing is lost.',
  },
  storage_full: { status: 507, title: 'The disk of the coordinator is full; free space, nothing is lost.' },
  internal: { status: 500, title: 'A fault of the coordinator; its log has the id.' },
} as const
export type ProblemCode = keyof typeof PROBLEMS

export const problemSchema = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]),
    detail: z.string().optional().describe('Names of fields, ids and codes; never values.'),
  })
  .meta({ id: 'Problem' })
export type Problem = z.infer<typeof problemSchema>

/** The same with what OpenAI's clients read. */
export const jobProblemSchema = problemSchema
  .extend({
    error: z.strictObject({
      message: z.string(),
      type: z.string(),
      code: z.string(),
      param: z.string().nullable(),
    }),
  })
  .meta({ id: 'JobProblem' })

/** The problem document of a code. `detail` must hold names, ids and codes only. */
export function problemOf(code: ProblemCode, detail?: string): Problem {
  const { status, title } = PROBLEMS[code]
  return {
    type: `https://sotto.dev/problems/${code}`,
    title,
    status,
    code,
    ...(detail === undefined ? {} : { detail }),
  }
}
