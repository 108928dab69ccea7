/** Why no mask can be made. Every code is terminal: the caller asks for something else. */
export type PruningErrorCode =
  | 'keep_out_of_range'
  | 'queries_out_of_range'
  | 'radius_out_of_range'
  | 'stage_out_of_range'
  | 'nothing_to_prune'
  | 'named_twice'
  | 'wrong_length'
  | 'not_finite'

export class PruningError extends RangeError {
  override readonly name = 'PruningError'
  readonly code: PruningErrorCode

  constructor(code: PruningErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
