import type { CausalLm, PreferencePairs, Task } from '../../../shared/api/task.ts'
import { EngineError } from '../error.ts'
import { prepareCausal } from './causal.ts'
import type { PreparedTask } from './record.ts'
import { preparePrompt, prepareSequence } from './text.ts'
import type { ModelTokenizer } from './tokenizer.ts'

/** @throws EngineError `bucket_too_long` where the model has no positions for the longest bucket. */
function checkBuckets(task: Task, { positions }: ModelTokenizer): void {
  if (positions !== undefined && task.maxTokens > positions)
    throw new EngineError('bucket_too_long', `the model has ${positions} positions, the task wants ${task.maxTokens}`)
}

/** One side of a pair: a prompt with one of its completions, which ends at its own last token. */
const sideOf = ({ maxTokens, buckets, maxCompletionTokens }: PreferencePairs): CausalLm => {
  return { kind: 'causal-lm', format: 'completion', appendEnd: false, maxTokens, buckets, maxCompletionTokens }
}

/**
 * Readies a task for a model's tokenizer.
 * @example
 * const { encode, outputs } = prepareTask(task, loadTokenizer(modelDir))
 * const { ids, positions, targets } = encode({ prompt: '2 + 2 =', completion: ' 4' })
 * @throws EngineError where the task and the model do not fit together; the code says what to change.
 */
export function prepareTask(task: Task, tokenizer: ModelTokenizer): PreparedTask {
  checkBuckets(task, tokenizer)
  switch (task.kind) {
    case 'prompt-classification':
      return preparePrompt(task, tokenizer)
    case 'sequence-classification':
      return prepareSequence(task, tokenizer)
    case 'causal-lm':
      return prepareCausal(task, tokenizer)
    case 'preference-pairs':
      return prepareCausal(sideOf(task), tokenizer)
  }
}
