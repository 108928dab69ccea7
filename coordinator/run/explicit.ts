import { type CompleteRequest, type Method, stageRequestSchema } from '../../shared/api/index.ts'
import { type Distribution, expandPreset, PresetError } from '../../shared/zo/index.ts'
import { fieldsOf, PlanError } from './plan-error.ts'

/** A request with nothing left to a name or a default. */
export interface ExplicitRequest
  extends Omit<CompleteRequest, 'preset' | 'stages' | keyof Method | 'guarantee'>,
    Method {
  readonly guarantee: 'approximate' | 'pure'
  readonly stages: NonNullable<CompleteRequest['stages']>
}

const DEFAULTS = { clipping: 'joint', noise: 'gaussian', sides: 'two', guarantee: 'approximate' } as const

/**
 * Writes a request out: its preset, or the defaults of what it leaves out.
 * @throws PlanError where it asks for something else than its preset does
 */
export function explicit(request: CompleteRequest): ExplicitRequest {
  const { stages, preset: _, clipping, noise, sides, guarantee, ...rest } = request
  const asked = { clipping, noise, sides, guarantee }
  if (!stages) return { ...rest, ...expanded(request, asked) }
  const method = {
    clipping: clipping ?? DEFAULTS.clipping,
    noise: noise ?? DEFAULTS.noise,
    sides: sides ?? DEFAULTS.sides,
    guarantee: guarantee ?? DEFAULTS.guarantee,
  }
  if (method.guarantee === 'pure' && method.noise !== 'laplace')
    throw new PlanError('bad_request', 'guarantee: pure epsilon wants noise laplace')
  return { ...rest, ...method, stages }
}

type Asked = Pick<CompleteRequest, 'clipping' | 'noise' | 'sides' | 'guarantee'>

function expanded({ preset, space }: CompleteRequest, asked: Asked) {
  if (!preset) throw new PlanError('bad_request', 'stages')
  if (preset.name === 'dp-zopo' && space.kind !== 'pruned')
    throw new PlanError('bad_request', 'space.kind: dp-zopo trains a pruned space')
  try {
    const { distribution, stages: drafts, ...method } = expandPreset(preset, space)
    for (const field of ['clipping', 'noise', 'sides', 'guarantee'] as const)
      if (asked[field] !== undefined && asked[field] !== method[field])
        throw new PlanError('bad_request', `${field}: the preset sets another`)
    const written = stageRequestSchema.array().safeParse(drafts)
    if (!written.success) throw new PlanError('bad_request', `preset: stages.${fieldsOf(written.error)}`)
    if (space.kind === 'statistic') return { ...method, space, stages: written.data }
    return { ...method, space: { ...space, distribution: drawn(space, distribution) }, stages: written.data }
  } catch (error) {
    if (!(error instanceof PresetError)) throw error
    throw new PlanError('bad_request', `preset.${error.field}`, error)
  }
}

/** A space that names something else than signs keeps it, and products of low rank are of signs; else the preset's. */
function drawn(
  space: Exclude<CompleteRequest['space'], { kind: 'statistic' }>,
  distribution: Distribution,
): Distribution {
  const isOfProducts = space.kind === 'full' && space.directions.kind === 'low-rank'
  return isOfProducts || space.distribution !== 'rademacher' ? space.distribution : distribution
}
