import type { Space } from '../../../shared/zo/index.ts'
import type { Device, EngineLimits } from '../device/index.ts'
import type { Variant } from '../graph/file.ts'
import type { EncodedRecord, Outputs } from '../task/record.ts'

/** What an evaluator needs to know of a run. */
export interface EvaluatorSetup {
  readonly modelDir: string
  readonly variant: Variant | undefined
  readonly outputs: Outputs
  /** P of each bucket: positions whose logits count. */
  readonly positions: ReadonlyMap<number, number>
  readonly space: Space
  /** Bitset of a `pruned` space. */
  readonly mask: Uint8Array | undefined
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

export type { EncodedRecord }

export type Output = 'losses' | 'logits'

/** Numbers that a call makes of a record under one group: its loss, or its class logits. */
export function valuesPerGroup(outputs: Outputs, output: Output): number {
  if (output === 'losses' || outputs.kind === 'vocabulary') return 1
  return outputs.kind === 'rows' ? outputs.tokens.length : outputs.count
}
