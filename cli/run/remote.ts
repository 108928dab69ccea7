import type { Run, RunEvent } from '../../shared/api/index.ts'
import { all, type ConnectionGiven, type Session, withCoordinator } from '../connection/index.ts'
import { EXIT, WaitError } from '../failure.ts'
import { pushModel } from '../model/push.ts'
import { columns, roundedUp, table } from '../output.ts'
import type { CreateGiven, FileGiven, WatchGiven } from './command.ts'
import { readRunFile } from './file.ts'
import { within } from './within.ts'

/** The request of a run file, its model uploaded where it is a folder. @throws InputError, SottoError */
async function requestOf({ file }: FileGiven, session: Session) {
  const { request, model } = readRunFile(file)
  return { ...request, model: 'id' in model ? model.id : await pushModel(model.folder, session) }
}

/** `sotto run plan`. @throws InputError, RefusedError, UnreachableError */
export const planRun = async (given: FileGiven): Promise<void> =>
  await withCoordinator(given, async (session) => {
    const { api, answer, tell } = session
    const plan = await answer(api.v1.runs.plan.$post({ json: await requestOf(given, session) }))
    const { epsilon, epsilonWithSpares, stages, rounds, spareCharges, affordableRounds } = plan
    const noise = [...new Set(stages.map(({ noiseMultiplier }) => noiseMultiplier))]
    tell(
      plan,
      table([
        [
          'epsilon',
          roundedUp(epsilon),
          `after ${rounds} rounds; ${roundedUp(epsilonWithSpares)} with ${spareCharges} spare charges`,
        ],
        ['noise', noise.join(', '), 'noise multiplier by stage'],
        ['trains', String(plan.dimension), 'coordinates'],
        ['passes', String(Math.round(plan.forwardPasses)), 'forward passes of one record, all datasets together'],
        ['report', String(plan.bytesPerReport), 'bytes at most'],
        ...Object.entries(affordableRounds).map(
          ([id, count]) => ['affords', String(count), `rounds of dataset ${id} at the last stage`] as const,
        ),
      ]),
    )
  })

/** `sotto run create`. @throws InputError, RefusedError, UnreachableError, WaitError */
export const createRun = async (given: CreateGiven): Promise<void> =>
  await withCoordinator(given, async (session) => {
    const { api, answer, tell } = session
    const run = await answer(api.v1.runs.$post({ json: await requestOf(given, session) }))
    if (!given.wait) return tell(run, wordsOf(run))
    await followed(run.id, session, given)
  })

/** `sotto run watch`. @throws InputError, RefusedError, UnreachableError, WaitError */
export const watchRun = async (id: string, given: WatchGiven): Promise<void> =>
  await withCoordinator(given, async (session) => await followed(id, session, given))

/** Shows events on standard error as they come, and the run once it has ended. @throws WaitError */
async function followed(
  id: string,
  { api, answer, events, tell }: Session,
  { timeout, json }: WatchGiven,
): Promise<void> {
  const until = timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + 1000 * timeout
  const stream = events(id)
  for (;;) {
    const next = await within(stream.next(), until - performance.now())
    if (next === null) {
      throw new WaitError(EXIT.late, `run ${id} has not ended in ${timeout} seconds; it goes on`)
    }
    if (next.done) break
    if (!json) process.stderr.write(`${eventWords(next.value)}\n`)
  }
  const run = await answer(api.v1.runs[':id'].$get({ param: { id } }))
  tell(run, wordsOf(run))
  if (run.state !== 'completed')
    throw new WaitError(EXIT.otherwise, `run ${id} ended: ${run.state}${run.reason === null ? '' : `, ${run.reason}`}`)
}

function eventWords(event: RunEvent): string {
  switch (event.type) {
    case 'round.closed': {
      const spent = Math.max(...Object.values(event.spent))
      const loss = event.privateLoss === null ? '' : `, private loss ${event.privateLoss.toFixed(4)}`
      return `round ${event.round} closed${loss}, epsilon ${roundedUp(spent)}`
    }
    case 'round.evaluated': {
      const { evaluation } = event
      const right = evaluation?.correct == null ? '' : `: ${evaluation.correct} of ${evaluation.records} right`
      return `evaluated after ${event.round} rounds${right}`
    }
    case 'run.ended':
      return `ended: ${event.state}`
    case 'round.opened':
      return `round ${event.round} opened`
    case 'lease.lost':
      return `round ${event.round}: dataset ${event.dataset} lost its lease`
    default:
      return event.type
  }
}

function wordsOf(run: Run): string {
  const { id, state, reason, round, rounds, spent, spec, privateLoss, evaluation, adapter } = run
  return table([
    ['run', id, reason === null ? state : `${state}: ${reason}`],
    [
      'rounds',
      `${round} of ${rounds}`,
      privateLoss === null ? 'closed' : `closed; private loss ${privateLoss.toFixed(4)}`,
    ],
    ...spent.map(
      ({ dataset, epsilon, charges }) =>
        [
          dataset,
          roundedUp(epsilon),
          `epsilon of ${spec.budget.epsilon} at delta ${spec.budget.delta}; ${charges} charges`,
        ] as const,
    ),
    ...(evaluation?.correct == null
      ? []
      : [
          [
            'public',
            `${evaluation.correct} of ${evaluation.records}`,
            `right after ${evaluation.round} rounds`,
          ] as const,
        ]),
    ...(adapter ? [['adapter', adapter.sha256.slice(0, 16), `sotto adapter pull ${id}`] as const] : []),
  ])
}

/** `sotto run list`. @throws InputError, RefusedError, UnreachableError */
export const listRuns = async (given: ConnectionGiven): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, tell }) => {
    const listed = await all((query) => answer(api.v1.runs.$get({ query })))
    const runs = listed.toSorted((a, b) => a.created - b.created)
    const rows = runs.map(({ id, state, created }) => [id, state, new Date(created).toISOString()])
    tell(runs, runs.length === 0 ? 'No runs.\n' : columns([['RUN', 'STATE', 'CREATED'], ...rows]))
  })

/** `sotto run show`. @throws InputError, RefusedError, UnreachableError */
export const showRun = async (id: string, given: ConnectionGiven): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, tell }) => {
    const run = await answer(api.v1.runs[':id'].$get({ param: { id } }))
    tell(run, wordsOf(run))
  })

/** `sotto run pause`, `resume` and `cancel`. @throws InputError, RefusedError, UnreachableError */
export const steerRun = async (
  id: string,
  verb: 'pause' | 'resume' | 'cancel',
  given: ConnectionGiven,
): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, tell }) => {
    const run = await answer(api.v1.runs[':id'][verb].$post({ param: { id } }))
    tell(run, wordsOf(run))
  })
