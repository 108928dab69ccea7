import type { Lead } from '../graph/split.ts'
import type { Bucket } from './bucket.ts'
import type { EncodedRecord, FinishedStage, Output } from './setup.ts'

/**
 * The vectors of trained coordinates that a call evaluates: perturbed ones, or the center alone. Made when they are needed,
 * since all of a round together may not fit into memory.
 */
export interface Groups {
  readonly count: number
  readonly center: Float32Array
  /** What a group is: sign 0 is the center itself. */
  at(group: number): { readonly k: number; readonly sign: 1 | -1 | 0 }
  readonly round: number
  readonly radius: number
}

/** How records of a length are run. */
export interface BucketLead {
  readonly bucket: number
  readonly lead: Lead
  /** Why they run one by one, where they do. */
  readonly reason: string | undefined
}

export const leadOf = ({ graphs, reason }: Bucket): BucketLead => {
  return { bucket: graphs.size.tokens, lead: graphs.lead, reason }
}

/** Evaluates records in one space. A method never knows which. */
export interface SpaceDriver {
  /** Moves to a stage that trains where this driver does: earlier stages merged into the weights in order. */
  setStage(stage: number, finished: readonly FinishedStage[]): Promise<void>
  /**
   * Losses [records, groups], class logits [records, groups, classes], or activations [records, size], row-major. Calls must
   * not overlap.
   */
  run(records: readonly EncodedRecord[], groups: Groups, output: Output): Promise<Float32Array>
  /** How the buckets met so far are run. */
  leads(): Promise<BucketLead[]>
  release(): Promise<void>
}
