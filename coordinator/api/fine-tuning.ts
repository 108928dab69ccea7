import { createRoute } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import {
  type Job,
  type JobCheckpoint,
  type JobEvent,
  jobCheckpointSchema,
  jobEventSchema,
  jobListQuery,
  jobProblemSchema,
  jobRequestSchema,
  jobSchema,
  listOf,
  problemSchema,
  type Run as RunAnswer,
  type RunEvent,
} from '../../shared/api/index.ts'
import { checkpointKey, EventFold, type RunFacts } from '../run/index.ts'
import { ApiError } from './fault.ts'
import { startRun } from './launch.ts'
import { type ApiContext, allow, body, type Env, idParam, json, newApi, security } from './route.ts'
import { findRun } from './runs.ts'
import type { Services } from './services.ts'

/** Runs as jobs of OpenAI's fine-tuning API: other words for the same actors. */

const STATUS = {
  running: 'running',
  paused: 'paused',
  completed: 'succeeded',
  cancelled: 'cancelled',
  budget_exhausted: 'failed',
  failed: 'failed',
} as const satisfies Record<RunAnswer['state'], Job['status']>

const seconds = (ms: number): number => Math.floor(ms / 1000)
const AUTO = { n_epochs: 'auto', batch_size: 'auto', learning_rate_multiplier: 'auto' } as const

function jobOf({ id, spec, state, reason, created, history, adapter }: Omit<RunFacts, 'head'>): Job {
  const status = STATUS[state]
  const isOver = status !== 'running' && status !== 'paused'
  return {
    id,
    object: 'fine_tuning.job',
    created_at: seconds(created),
    finished_at: isOver ? seconds(history.at(-1)!.time) : null,
    model: spec.model,
    fine_tuned_model: adapter?.key ?? null,
    organization_id: 'sotto',
    status,
    error: status === 'failed' ? { code: state, message: reason ?? state, param: null } : null,
    training_file: spec.datasets.map((dataset) => dataset.id).join(','),
    validation_file: spec.evaluation?.data ?? null,
    result_files: adapter ? [adapter.key] : [],
    trained_tokens: null,
    hyperparameters: AUTO,
  }
}

/** What an event says, in words and in numbers. */
function saidBy(event: RunEvent, rounds: number): Pick<JobEvent, 'level' | 'type' | 'message' | 'data'> {
  const message = (text: string, level: JobEvent['level'] = 'info') => {
    return { level, type: 'message' as const, message: text, data: {} }
  }
  switch (event.type) {
    case 'run.created':
      return message('Created fine-tuning job')
    case 'round.opened':
      return message(`Step ${event.round + 1}/${rounds} opened`)
    case 'round.closed': {
      const { round, privateLoss, clippedShare, signalToNoise, spent } = event
      const epsilon = Math.max(0, ...Object.values(spent))
      const loss = privateLoss === null ? '' : `, private loss=${privateLoss.toFixed(4)}`
      const data = { step: round + 1, total_steps: rounds, train_loss: privateLoss, epsilon }
      return {
        ...{ level: 'info', type: 'metrics' },
        message: `Step ${round + 1}/${rounds}: epsilon=${epsilon.toFixed(4)}${loss}`,
        data: { ...data, clipped_share: clippedShare, signal_to_noise: signalToNoise },
      }
    }
    case 'round.evaluated': {
      const { round, evaluation } = event
      if (!evaluation) return message(`Step ${round}: no worker evaluated the model in its time`, 'warn')
      const { records, correct, loss } = evaluation
      return {
        ...{ level: 'info', type: 'metrics', message: `Step ${round}: evaluated on public data` },
        data: {
          step: round,
          valid_loss: loss === null ? null : loss / 1e6,
          valid_mean_token_accuracy: correct === null || records === 0 ? null : correct / records,
        },
      }
    }
    case 'stage.masked':
      return message(`Stage ${event.stage} trains under a new mask`)
    case 'lease.lost':
      return message(`Step ${event.round + 1}: a lease of ${event.dataset} was lost`, 'warn')
    case 'run.paused':
      return message('Paused fine-tuning job')
    case 'run.resumed':
      return message('Resumed fine-tuning job')
    case 'run.ended':
      return message(`The job has ${STATUS[event.state]}`, STATUS[event.state] === 'failed' ? 'error' : 'info')
  }
}

const EVENT = /^(?<run>[a-z0-9_-]+)-event-(?<seq>\d{1,15})$/

/** Seq of the record behind an event's id. @throws ApiError where it is none of the run's */
function seqOf(run: string, event: string): number {
  const named = EVENT.exec(event)?.groups
  if (named?.run !== run) throw new ApiError('bad_request', 'after')
  return Number(named.seq)
}

const jobProblems = {
  default: {
    description: 'A problem document, with the error that clients of this API read.',
    content: { 'application/problem+json': { schema: jobProblemSchema } },
  },
} as const

/** Refusals in this API's form beside ours: its clients read `error`. */
export const withErrors: MiddlewareHandler<Env> = async function addError(c, next) {
  await next()
  if (c.res.status < 400) return
  const problem = problemSchema.safeParse(
    await c.res
      .clone()
      .json()
      .catch(() => null),
  )
  if (!problem.success) return
  const { title, code, detail } = problem.data
  const error = {
    message: detail === undefined ? title : `${title} (${detail})`,
    type: code,
    code,
    param: detail ?? null,
  }
  c.res = new Response(JSON.stringify({ ...problem.data, error }), { status: c.res.status, headers: c.res.headers })
}

export function fineTuningRoutes(services: Services) {
  const launchers = allow(services, 'admin', 'operator')
  const readers = allow(services, 'admin', 'operator', 'auditor')
  const path = '/v1/fine_tuning/jobs'
  const ofJob = { security, request: { params: idParam } }
  const job = { 200: json(jobSchema, 'The job.'), ...jobProblems }
  const create = createRoute({
    method: 'post',
    path,
    summary: 'Create a job: a run by the words of the OpenAI API',
    security,
    middleware: launchers,
    request: { body: body(jobRequestSchema) },
    responses: job,
  })
  const list = createRoute({
    method: 'get',
    path,
    summary: 'List jobs, newest first',
    security,
    middleware: readers,
    request: { query: jobListQuery },
    responses: { 200: json(listOf(jobSchema), 'A page.'), ...jobProblems },
  })
  const get = createRoute({
    ...ofJob,
    method: 'get',
    path: `${path}/{id}`,
    summary: 'Show a job',
    middleware: readers,
    responses: job,
  })
  const changing = (verb: 'cancel' | 'pause' | 'resume') =>
    createRoute({
      ...ofJob,
      method: 'post',
      path: `${path}/{id}/${verb}`,
      summary: `${verb[0]!.toUpperCase()}${verb.slice(1)} a job`,
      middleware: launchers,
      responses: job,
    })
  const events = createRoute({
    method: 'get',
    path: `${path}/{id}/events`,
    summary: 'Events of a job, oldest first',
    security,
    middleware: readers,
    request: { params: idParam, query: jobListQuery },
    responses: { 200: json(listOf(jobEventSchema), 'A page.'), ...jobProblems },
  })
  const checkpoints = createRoute({
    method: 'get',
    path: `${path}/{id}/checkpoints`,
    summary: 'Stored states of a job, newest first',
    security,
    middleware: readers,
    request: { params: idParam, query: jobListQuery },
    responses: { 200: json(listOf(jobCheckpointSchema), 'A page.'), ...jobProblems },
  })

  const jobById = async (c: ApiContext, id: string) => jobOf((await findRun(services, c, id)).facts)
  const changed = async (c: ApiContext, id: string, verb: 'cancel' | 'pause' | 'resume') => {
    const { run } = await findRun(services, c, id)
    await (verb === 'cancel' ? run.cancel() : run.setPaused(verb === 'pause'))
    return await jobById(c, id)
  }

  async function eventsOf(c: ApiContext, id: string, { after, limit }: { after?: string | undefined; limit: number }) {
    const { run, facts } = await findRun(services, c, id)
    const from = after === undefined ? 0 : seqOf(id, after) + 1
    // What is spent by an event is counted from the first record on.
    const fold = new EventFold()
    const found: RunEvent[] = []
    for (let next = 0; found.length <= limit; ) {
      const { records } = await run.records(next)
      if (records.length === 0) break
      for (const record of records) {
        next = record.seq + 1
        if (found.length > limit) break
        if (record.seq < from) fold.skip(record)
        else found.push(...[fold.push(record)].filter((event) => event !== null))
      }
    }
    const data = found.slice(0, limit).map((event): JobEvent => {
      const name = { id: `${id}-event-${event.seq}`, object: 'fine_tuning.job.event' as const }
      return { ...name, created_at: seconds(event.time), ...saidBy(event, facts.rounds) }
    })
    return { object: 'list' as const, data, has_more: found.length > limit }
  }

  async function checkpointsOf(
    c: ApiContext,
    id: string,
    { after, limit }: { after?: string | undefined; limit: number },
  ) {
    const { run } = await findRun(services, c, id)
    const all = (await run.checkpoints(CHECKPOINTS_MOST)).map((each): JobCheckpoint => {
      const name = { id: `${id}-checkpoint-${each.rounds}`, object: 'fine_tuning.job.checkpoint' as const }
      return {
        ...name,
        created_at: seconds(each.time),
        fine_tuning_job_id: id,
        fine_tuned_model_checkpoint: checkpointKey(id, each),
        step_number: each.rounds,
        metrics: { step: each.rounds },
      }
    })
    const at = after === undefined ? 0 : all.findIndex((each) => each.id === after) + 1
    if (after !== undefined && at === 0) throw new ApiError('bad_request', 'after')
    return { object: 'list' as const, data: all.slice(at, at + limit), has_more: all.length > at + limit }
  }

  return newApi()
    .openapi(create, async (c) => {
      const { model, training_file: datasets, method } = c.req.valid('json')
      const request = { ...method.sotto, model, datasets: datasets.split(',') }
      return c.json(jobOf(await startRun(services, c, request)), 200)
    })
    .openapi(list, async (c) => {
      const { after, limit } = c.req.valid('query')
      const cursor = after === undefined ? undefined : await services.directory.cursorAfter(after)
      if (after !== undefined && cursor === undefined) throw new ApiError('bad_request', 'after')
      const page = await services.directory.listRuns({ cursor, limit })
      const data = await Promise.all(page.items.map(({ id }) => jobById(c, id)))
      return c.json({ object: 'list' as const, data, has_more: page.next !== null }, 200)
    })
    .openapi(get, async (c) => c.json(await jobById(c, c.req.valid('param').id), 200))
    .openapi(changing('cancel'), async (c) => c.json(await changed(c, c.req.valid('param').id, 'cancel'), 200))
    .openapi(changing('pause'), async (c) => c.json(await changed(c, c.req.valid('param').id, 'pause'), 200))
    .openapi(changing('resume'), async (c) => c.json(await changed(c, c.req.valid('param').id, 'resume'), 200))
    .openapi(events, async (c) => c.json(await eventsOf(c, c.req.valid('param').id, c.req.valid('query')), 200))
    .openapi(checkpoints, async (c) =>
      c.json(await checkpointsOf(c, c.req.valid('param').id, c.req.valid('query')), 200),
    )
}

/** A run of a million rounds has 20,000. */
const CHECKPOINTS_MOST = 1000
