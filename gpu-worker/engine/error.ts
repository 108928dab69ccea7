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
  | 'completion_too_long'
  | 'token_out_of_range'
  | 'class_out_of_range'
  | 'no_pad_token'
  | 'no_end_token'
  | 'no_chat_template'
  | 'chat_template_failed'
  | 'prompt_not_prefix'
  | 'last_not_assistant'
  | 'empty_completion'
  | 'empty_text'
  | 'wrong_form'
  | 'wrong_length'
  | 'wrong_stage'
  | 'unknown_label'
  | 'wrong_mask'
  | 'wrong_evaluation'
  | 'no_classes'
  | 'no_score'
  | 'no_room'
  | 'out_of_memory'
  | 'device_lost'
  | 'device_missing'
  | 'thread_lost'
  | 'coupled_batch'
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

/** What encoding one line may fail with: the line's doing, not the model's. */
const LINE_FAULTS: ReadonlySet<EngineErrorCode> = new Set<EngineErrorCode>([
  'unknown_label',
  'wrong_form',
  'empty_completion',
  'empty_text',
  'last_not_assistant',
  'chat_template_failed',
  'prompt_not_prefix',
])

/** What a call may fail with because of one record, or of the engine itself: the failure does not tell which. */
const CALL_FAULTS: ReadonlySet<EngineErrorCode> = new Set<EngineErrorCode>([
  'device_lost',
  'out_of_memory',
  'runtime_failed',
  'thread_lost',
  'unsupported_graph',
])

/** Whether a call failed in a way that a record may have brought about. */
export function isCallFault(error: unknown): boolean {
  return error instanceof EngineError && CALL_FAULTS.has(error.code)
}

/** Whether an error says that one line does not fit the task. Such a line counts as nothing, unseen from outside the site. */
export function isLineFault(error: unknown): boolean {
  return error instanceof EngineError && LINE_FAULTS.has(error.code)
}
