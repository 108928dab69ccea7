import { type Evaluation, MAX_INTEGER, type RunSpec, type Task } from '../shared/api/index.ts'
import { lineFor, readUnits } from './data/index.ts'
import { type EncodedRecord, type Engine, EngineError } from './engine/index.ts'
import { filesByHash } from './named-files.ts'
import { fitting } from './site-rows.ts'

/** Where public data lie in the folder of a model. */
export const EVALUATION = 'evaluation'

/** Millionths of a nat. */
const LOSS_STEPS = 1e6

/**
 * The public data that a run is evaluated on: lines that fit its task. It is a file of the model, found by its hash, and never
 * the data of the site.
 * @throws EngineError `wrong_evaluation` where the model has no such file; DataError where it is not as data are.
 */
export async function publicRecords(
  { evaluation, task }: Pick<RunSpec, 'evaluation' | 'task'>,
  modelDir: string,
  engine: Pick<Engine, 'encode'>,
): Promise<EncodedRecord[]> {
  const hash = evaluation?.data ?? ''
  const file = filesByHash(modelDir, EVALUATION, new Set([hash])).get(hash)
  if (!file)
    throw new EngineError(
      'wrong_evaluation',
      `no file under ${EVALUATION}/ of the model has the hash that the run names`,
    )
  const units = await readUnits(file.path, { unit: 'record', labels: null })
  return units.flat().flatMap((data) => {
    const line = lineFor(task, data)
    return fitting(() => line && engine.encode(line)) ?? []
  })
}

/** What the model says of public records: how many labels it finds, and its mean loss. */
export async function evaluateRecords(
  engine: Pick<Engine, 'centerLosses' | 'logits'>,
  records: readonly EncodedRecord[],
  { task, center }: { task: Task; center: Float32Array },
): Promise<Evaluation> {
  const losses = (await engine.centerLosses(records, center)).filter(Number.isFinite)
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  const loss = losses.length === 0 ? null : Math.min(MAX_INTEGER, Math.round(mean * LOSS_STEPS))
  if (task.kind === 'causal-lm') return { records: records.length, correct: null, loss }
  const logits = await engine.logits(records, center)
  const classes = logits.length / records.length
  const isCorrect = ({ targets }: EncodedRecord, at: number): boolean => {
    const row = logits.subarray(at * classes, (at + 1) * classes)
    return row.indexOf(Math.max(...row)) === targets[0]
  }
  return { records: records.length, correct: records.filter(isCorrect).length, loss }
}
