/** What went wrong; every code is terminal: the caller changes the model, the task or the space, and opens again. */
export type EngineErrorCode =
  | 'missing_tokenizer'
  | 'missing_model_file'
  | 'malformed_model'
  | 'unsupported_graph'
  | 'unsupported_tokenizer'
  | 'unknown_site'
  | 'site_mismatch'
  | 'label_not_one_token'
  | 'labels_share_token'
  | 'no_mask_token'
  | 'template_too_long'
  | 'bucket_too_long'
  | 'wrong_length'
  | 'wrong_stage'
  | 'unknown_label'
  | 'runtime_failed'
  | 'closed'

/** Failure of the engine. The message names a file, node or site, never data. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: EngineErrorCode

  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
