import type { Line } from '../../data/index.ts'

/** What a task makes of one line: a pure function of line, task and tokenizer. n positions count, n at least 1. */
export interface EncodedRecord {
  /** Token ids without padding, at most `bucket`. */
  readonly ids: Int32Array
  /** Length it is padded to, on the right, under an attention mask. */
  readonly bucket: number
  /**
   * [n] ascending rows of the output that count: the mask's; those before each token of a completion. [0] for a
   * sequence classifier, whose output has but one row.
   */
  readonly positions: Int32Array
  /** [n] what should stand there: a class (classification) or a token id (causal). */
  readonly targets: Int32Array
  /**
   * [n] weight of each position's cross-entropy, 1 / n: their sum is 1. NaN for a text without label, whose loss is no
   * number.
   */
  readonly weights: Float32Array
}

/** Which columns of the model's output a task reads. */
export type Outputs =
  /**
   * Rows of the vocabulary head, one for each label in the order of the task's labels: no other token's logit is
   * computed.
   */
  | { readonly kind: 'rows'; readonly tokens: readonly number[] }
  /**
   * All classes of the model's own head; `count` as config.json says, or as many as the labels need where it says
   * nothing.
   */
  | { readonly kind: 'classes'; readonly count: number }
  /** The whole vocabulary. */
  | { readonly kind: 'vocabulary' }

/** A task made ready for one tokenizer. */
export interface PreparedTask {
  /**
   * A line as token ids, cut to the task's lengths.
   * @throws EngineError for which `isLineFault` holds, where the line does not fit the task; it says nothing of the
   * line.
   */
  encode(line: Line): EncodedRecord
  readonly outputs: Outputs
  /** Fixed number of positions in a bucket; a record has at most so many. */
  positionsOf(bucket: number): number
}

/** The smallest bucket that holds `length` tokens. Buckets ascend, and no record is longer than the last. */
export function bucketOf(buckets: readonly number[], length: number): number {
  return buckets.find((bucket) => bucket >= length)!
}
