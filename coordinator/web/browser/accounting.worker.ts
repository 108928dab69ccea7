import type { RunRequest, RunSpec } from '../../../shared/api/index.ts'
import { noiseVariance } from '../../../shared/ledger/told.ts'
import { type EventCount, epsilonBounds, spend } from '../../../shared/privacy/index.ts'
import { totalRounds } from '../../../shared/zo/schedule.ts'
import { type DatasetFacts, planRun, spendOf, workOf } from '../../run/plan.ts'
import { PlanError } from '../../run/plan-error.ts'
import { eventsAt, type SpendQuestion } from './spending.ts'

export interface PlanQuestion {
  readonly request: RunRequest
  readonly datasets: readonly DatasetFacts[]
}

/** What a plan comes to, by the code that the coordinator plans with. */
export type PlanAnswer =
  | {
      readonly isPlanned: true
      readonly spec: RunSpec
      readonly spend: ReturnType<typeof spendOf>
      readonly work: ReturnType<typeof workOf>
      /** Standard deviation of the noise in the mean difference of one direction, in clips. */
      readonly noiseInClips: number
    }
  | { readonly isPlanned: false; readonly code: string; readonly detail: string }

export interface SpendPoint {
  readonly round: number
  readonly epsilon: number
  readonly lower: number
  readonly rdp: number
}

export type Question =
  | { readonly kind: 'plan'; readonly number: number; readonly question: PlanQuestion }
  | { readonly kind: 'spend'; readonly number: number; readonly question: SpendQuestion }

export type Told =
  | { readonly kind: 'plan'; readonly number: number; readonly answer: PlanAnswer }
  | {
      readonly kind: 'spend'
      readonly number: number
      readonly points: readonly SpendPoint[]
      readonly isDone: boolean
    }

/** No noise is drawn and no seed is shown: a plan needs one for its form alone. */
const SEED = '0'.repeat(16)

function planned({ request, datasets }: PlanQuestion): PlanAnswer {
  try {
    const plan = planRun(request, { datasets, seed: SEED })
    const { spec } = plan
    return { isPlanned: true, spec, spend: spendOf(plan), work: workOf(spec), noiseInClips: noiseInClips(spec) }
  } catch (error) {
    if (!(error instanceof PlanError)) throw error
    return { isPlanned: false, code: error.code, detail: error.fields }
  }
}

function noiseInClips(spec: RunSpec): number {
  const [stage] = spec.stages
  const units = spec.datasets.reduce((sum, each) => sum + each.units, 0)
  const deviation = stage!.grid * Math.sqrt(spec.datasets.length * noiseVariance(spec, stage!))
  return deviation / (stage!.samplingRate * units) / stage!.clip
}

let newest = 0

const tell = (told: Told) => postMessage(told)
/** Lets a newer question in. */
const breathe = () => new Promise((resolve) => setTimeout(resolve))

const POINTS = 36

/** Points of the curve as they come: the present first, then from the first round to the last. */
async function follow(number: number, question: SpendQuestion): Promise<void> {
  const rounds = totalRounds(question.spec.stages)
  const wanted = Math.min(POINTS, rounds)
  const at = Array.from({ length: wanted }, (_, i) => Math.round(((i + 1) * rounds) / wanted))
  const order = [...new Set([question.opened, rounds, ...at])].filter((round) => round > 0)
  const { delta } = question.spec.budget
  const points: SpendPoint[] = []
  for (const round of order) {
    points.push({ round, ...spentOn(eventsAt(question, round), delta) })
    tell({
      kind: 'spend',
      number,
      points: points.toSorted((a, b) => a.round - b.round),
      isDone: points.length === order.length,
    })
    await breathe()
    if (number !== newest) return
  }
}

/** While a run goes on its curve is asked for again and again, and most of it stays. */
const known = new Map<string, Omit<SpendPoint, 'round'>>()

function spentOn(events: readonly EventCount[], delta: number): Omit<SpendPoint, 'round'> {
  const key = JSON.stringify([events, delta])
  const before = known.get(key)
  if (before) return before
  const { epsilon, lower } = epsilonBounds(events, delta)
  const made = { epsilon, lower, rdp: spend(events, delta).epsilon }
  known.set(key, made)
  return made
}

addEventListener('message', ({ data }: MessageEvent<Question>) => {
  newest = data.number
  if (data.kind === 'plan') tell({ kind: 'plan', number: data.number, answer: planned(data.question) })
  else void follow(data.number, data.question)
})
