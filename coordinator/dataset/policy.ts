import { type DatasetPolicy, policySchema } from '../../shared/api/index.ts'

/** What a policy looks at in a run. */
export interface RunTerms {
  readonly epsilon: number
  /** The least of all stages. */
  readonly noiseMultiplier: number
  readonly quorum: number
  readonly model: string
}

/** What holds where an owner has said nothing. */
export const OPEN_POLICY: DatasetPolicy = policySchema.parse({})

/** The limit that a run does not keep to, by its name; null where it keeps to all. */
export function limitBroken(policy: DatasetPolicy, run: RunTerms): Exclude<keyof DatasetPolicy, 'frozen'> | null {
  const { maxEpsilon, minNoiseMultiplier, minDatasets, models } = policy
  if (maxEpsilon !== null && run.epsilon > maxEpsilon) return 'maxEpsilon'
  if (minNoiseMultiplier !== null && run.noiseMultiplier < minNoiseMultiplier) return 'minNoiseMultiplier'
  if (minDatasets !== null && run.quorum < minDatasets) return 'minDatasets'
  return models !== null && !models.includes(run.model) ? 'models' : null
}
