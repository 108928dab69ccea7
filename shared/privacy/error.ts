/**
 * Why the privacy core refused. Every code is terminal for the call that met it: none is worth a retry with the
 * same arguments. `rng_failure` means that the host's randomness cannot be trusted: stop the process.
 */
export type PrivacyErrorCode =
  | 'invalid_event'
  | 'invalid_count'
  | 'invalid_orders'
  | 'invalid_curve'
  | 'invalid_epsilon'
  | 'invalid_delta'
  | 'invalid_stages'
  | 'unreachable_target'
  | 'invalid_clipping'
  | 'invalid_vector'
  | 'invalid_noise'
  | 'noise_out_of_range'
  | 'invalid_sampling'
  | 'missing_user'
  | 'rng_failure'
  | 'mixed_neighbours'
  | 'invalid_composition'
  | 'invalid_rate'
  | 'invalid_group'
  | 'grid_limit'
  | 'invalid_tolerance'

/** The one error of this folder. Messages are fixed texts: they never carry a value that came with the call. */
export class PrivacyError extends Error {
  readonly code: PrivacyErrorCode

  constructor(code: PrivacyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'PrivacyError'
    this.code = code
  }
}
