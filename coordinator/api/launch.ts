import { createRoute, type z } from '@hono/zod-openapi'
import {
  type ModelManifest,
  type Run as RunAnswer,
  type RunRequest,
  type RunSpec,
  runPlanSchema,
  runRequestSchema,
  runSchema,
} from '../../shared/api/index.ts'
import { maskBytes, spaceOfStage, wantsMask } from '../../shared/zo/index.ts'
import { hex, newId } from '../directory/index.ts'
import { factsOf, type PlannedRun, planRun, spendOf, termsOf, workOf } from '../run/index.ts'
import { findDataset } from './datasets.ts'
import { ApiError } from './fault.ts'
import { requireModel } from './models.ts'
import { once } from './once.ts'
import { type ApiContext, allow, body, json, newApi, problems, security } from './route.ts'
import { answerOf } from './runs.ts'
import type { Services } from './services.ts'

/** Plans a run as it would be created now; nothing is written or charged. */
async function planned(services: Services, request: RunRequest, seed: string): Promise<PlannedRun> {
  if (new Set(request.datasets).size !== request.datasets.length) throw new ApiError('bad_request', 'datasets')
  const datasets = await Promise.all(request.datasets.map((id) => findDataset(services, id, 'unknown_dataset')))
  const { files } = await requireModel(services, request.model)
  const plan = planRun(request, { datasets: datasets.map(factsOf), seed })
  requireMasks(plan.spec, files)
  requireEvaluation(plan.spec, files)
  for (const id of request.datasets) {
    // Nobody reserves under the name of no run.
    const wanted = { run: '', events: plan.eventsWithSpares, terms: termsOf(plan.spec) }
    const answer = await (await services.datasets.get(id)).reserve(wanted, { dryRun: true })
    if (answer.outcome === 'frozen') throw new ApiError('dataset_frozen', `dataset ${id}`)
    if (answer.outcome === 'policy') throw new ApiError('policy_refused', `dataset ${id}: ${answer.limit}`)
    if (answer.outcome !== 'reserved') throw new ApiError('dataset_budget_exceeded', `dataset ${id}`)
  }
  return plan
}

/** Workers look for masks under this folder of the model, and nowhere else. */
const MASK_FILE = /^masks\/[^/]+$/

/** Every mask is a file of the model, and as long as its tensors want it. @throws ApiError `bad_request` */
function requireMasks(spec: RunSpec, files: ModelManifest['files']): void {
  const masks = new Map(files.filter(({ path }) => MASK_FILE.test(path)).map(({ sha256, bytes }) => [sha256, bytes]))
  for (const stage of spec.stages.keys()) {
    if (spec.space.kind === 'statistic' || wantsMask(spec, stage)) continue
    const space = spaceOfStage(spec, stage)
    if (space.kind !== 'pruned') continue
    const bytes = masks.get(space.mask)
    if (bytes === undefined) throw new ApiError('bad_request', 'space.mask: no file under masks/ of the model')
    if (bytes !== maskBytes(space))
      throw new ApiError('bad_request', 'space.mask: not a bit for each entry, or not a factor for each that is kept')
  }
}

/** Workers look for public data under this folder of the model, and nowhere else. */
const EVALUATION_FILE = /^evaluation\/[^/]+$/

/** What the model is evaluated on is one of its files. @throws ApiError `bad_request` */
function requireEvaluation({ evaluation }: RunSpec, files: ModelManifest['files']): void {
  const isThere = files.some(({ path, sha256 }) => EVALUATION_FILE.test(path) && sha256 === evaluation?.data)
  if (evaluation && !isThere)
    throw new ApiError('bad_request', 'evaluation.data: no file under evaluation/ of the model has this hash')
}

async function planAnswer(services: Services, plan: PlannedRun): Promise<z.infer<typeof runPlanSchema>> {
  const { spec, events } = plan
  const { event } = events.at(-1)!
  const affordable = spec.datasets.map(async ({ id }) => {
    return [id, (await (await services.datasets.get(id)).affordable(event)) ?? 0] as const
  })
  const { clipping, noise, sides, aggregation, space } = spec
  return {
    ...{ clipping, noise, sides, aggregation, space },
    stages: spec.stages,
    spareCharges: spec.spareCharges,
    ...spendOf(plan),
    affordableRounds: Object.fromEntries(await Promise.all(affordable)),
    ...workOf(spec),
  }
}

/** Creates a run, or goes on with one whose create was cut short: its spec, once written, stays. */
async function createRun(services: Services, request: RunRequest, draft: RunDraft): Promise<RunAnswer> {
  const begun = await services.directory.hasDraft(draft.id)
  const known = begun ? await (await services.runs.get(draft.id)).describe() : null
  if (known) return await answerOf(services, known)
  const { spec } = await planned(services, request, draft.seed)
  const datasets = spec.datasets.map((d) => d.id)
  await services.directory.draftRun({ id: draft.id, model: spec.model, datasets, created: services.now() })
  await services.webhooks.follow(draft.id)
  const run = await services.runs.get(draft.id)
  await run.create(draft.id, spec)
  const facts = await run.describe()
  if (!facts) throw new ApiError('internal')
  return await answerOf(services, facts)
}

interface RunDraft {
  readonly id: string
  readonly seed: string
}

/** Planning and starting runs. */
export function launchRoutes(services: Services) {
  const launchers = allow(services, 'admin', 'operator')
  const plan = createRoute({
    method: 'post',
    path: '/v1/runs/plan',
    summary: 'What a run would spend, before anything is spent',
    security,
    middleware: launchers,
    request: { body: body(runRequestSchema) },
    responses: { 200: json(runPlanSchema, 'The plan.'), ...problems },
  })
  const create = createRoute({
    method: 'post',
    path: '/v1/runs',
    summary: 'Start a run',
    security,
    middleware: launchers,
    request: { body: body(runRequestSchema) },
    responses: { 201: json(runSchema, 'The run; its spec is in its log.'), ...problems },
  })
  return newApi()
    .openapi(plan, async (c) => {
      const seed = '0'.repeat(16)
      return c.json(await planAnswer(services, await planned(services, c.req.valid('json'), seed)), 200)
    })
    .openapi(create, async (c) => c.json(await startRun(services, c, c.req.valid('json')), 201))
}

/** Starts a run, once for one Idempotency-Key. */
export async function startRun(services: Services, c: ApiContext, request: RunRequest): Promise<RunAnswer> {
  const { answer } = await once(services, c, {
    body: request,
    draft: () => ({ id: newId('run', services.random), seed: hex(services.random(8)) }),
    repeat: 'store',
    make: async (draft) => ({ status: 201, answer: await createRun(services, request, draft) }),
  })
  return answer as RunAnswer
}
