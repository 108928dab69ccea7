export type { EncodedRecord, Outputs, PreparedTask } from './record.ts'
export { prepareTask } from './task.ts'
export { loadTokenizer, type ModelTokenizer } from './tokenizer.ts'
