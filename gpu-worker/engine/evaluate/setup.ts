import type { RunSpace, Space } from '../../../shared/zo/index.ts'
import type { Device, EngineLimits } from '../device/index.ts'
import { EngineError } from '../error.ts'
import type { Variant } from '../graph/file.ts'
import type { EncodedRecord, Outputs } from '../task/record.ts'

/** Where a stage trains. */
export interface StageSpace {
  readonly space: RunSpace
  /** Bitset of a `pruned` space. */
  readonly mask: Uint8Array | undefined
}

/** A finished stage: its trained vector, in its own space. */
export interface FinishedStage {
  readonly space: Space
  readonly mask: Uint8Array | undefined
  readonly trained: Float32Array
}

/** What an evaluator needs to know of a run. */
export interface EvaluatorSetup extends StageSpace {
  readonly modelDir: string
  readonly variant: Variant | undefined
  readonly outputs: Outputs
  /** P of each bucket: positions whose logits count. */
  readonly positions: ReadonlyMap<number, number>
  /** Where the stages after the first train, one by one; left out: all where the first does. */
  readonly later?: readonly StageSpace[]
  /** Public seed of the run. */
  readonly seed: string
  readonly padToken: number
  /** Bytes that prefixes of records may take between calls; 0 keeps none. */
  readonly cacheBytes: number
  readonly device: Device
  /** Whether float16 matrices stay as they are in memory. */
  readonly keepsHalves: boolean
  readonly limits: EngineLimits
}

/** Where a stage trains. */
export function stageSpaceOf(setup: Pick<EvaluatorSetup, 'space' | 'mask' | 'later'>, stage: number): StageSpace {
  const { space, mask, later } = setup
  return stage === 0 || !later ? { space, mask } : (later[stage - 1] ?? { space, mask })
}

/** Trained vectors of the stages before `stage`, each with its space. */
export function finishedStages(
  setup: Pick<EvaluatorSetup, 'space' | 'mask' | 'later'>,
  finished: readonly Float32Array[],
): FinishedStage[] {
  return finished.map((trained, stage) => {
    const { space, mask } = stageSpaceOf(setup, stage)
    if (space.kind === 'statistic') throw new EngineError('wrong_stage', 'a statistic has no stages')
    return { space, mask, trained }
  })
}

export type { EncodedRecord }

export type Output = 'losses' | 'logits' | 'activations'

/** Numbers that a call makes of a record under one group: its loss, or its class logits. */
export function valuesPerGroup(outputs: Outputs, output: Output): number {
  if (output === 'losses' || outputs.kind === 'vocabulary') return 1
  return outputs.kind === 'rows' ? outputs.tokens.length : outputs.count
}
