import type { RunSpec } from '../../shared/api/index.ts'
import { noiseVariance, type RunRecord } from '../../shared/ledger/index.ts'
import { stageOf } from '../../shared/zo/index.ts'

/**
 * Power of the signal over power of the noise in what a round released: with S_k the sum of all reports in direction k, and
 * V the variance of its noise, the mean of S_k^2 / V, less 1. Unbiased, so that it lies below 0 about as often as above where
 * there is nothing but noise. It is made of released integers and public numbers, and costs no privacy.
 */
export function signalToNoise(spec: RunSpec, { round, reports }: Extract<RunRecord, { type: 'close' }>): number {
  const { stage } = stageOf(spec.stages, round)
  const variance = reports.length * noiseVariance(spec, stage)
  let power = 0
  for (let k = 0; k < stage.directions; k++) power += reports.reduce((sum, { integers }) => sum + integers[k]!, 0) ** 2
  return power / stage.directions / variance - 1
}
