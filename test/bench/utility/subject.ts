import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { inspectModel, openEngine, pruneModel } from '../../../gpu-worker/engine/index.ts'
import type { RunRequest } from '../../../shared/api/index.ts'
import type { Space } from '../../../shared/zo/index.ts'
import { type EngineMethod, METHODS, type Setting } from './methods.ts'
import type { SplitTask } from './tasks.ts'

/** A model folder of test/models/export-sentences.py, ready for a task. */
export interface Subject {
  /** `whole` encodes each text; `table` has the same vectors in a table, and makes the same logits. */
  readonly folder: string
  /** Always the whole model: what a data-free score may look at. */
  readonly whole: string
  readonly task: RunRequest['task']
}

/** Every text of the tasks has at most so many tokens, or is cut there. */
const MAX_TOKENS = 64
/** Part of the names of the tensors that are trained. */
const HEAD = 'classifier.'

export function subjectOf(model: string, task: SplitTask, encoder: 'whole' | 'table' = 'table'): Subject {
  const [folder, whole] = [join(model, task.name, encoder), join(model, task.name, 'whole')]
  if (!existsSync(join(folder, 'onnx', 'model.onnx')))
    throw new RangeError(`no model in ${folder}: write it with test/models/export-sentences.py`)
  const labels = Object.fromEntries(task.labels.map((label, at) => [label, at]))
  const lengths = { maxTokens: MAX_TOKENS, buckets: [MAX_TOKENS] }
  return { folder, whole, task: { kind: 'sequence-classification', labels, ...lengths } }
}

/** Tensors of the head, in the order of their coordinates. */
async function headTensors({ whole }: Subject) {
  const { weights } = await inspectModel(whole)
  return weights.filter(({ name }) => name.startsWith(HEAD)).map(({ name, shape }) => ({ name, shape: [...shape] }))
}

async function headSites({ whole }: Subject) {
  const { sites } = await inspectModel(whole)
  return sites.filter(({ name }) => name.startsWith('head.')).map((site) => ({ ...site, scale: 1 }))
}

/** Entries that are kept of the head: 1 % as published. */
const KEEP = 0.01

export interface PlacedSpace {
  readonly space: Space
  readonly mask?: Uint8Array
}

/** Where a method trains; masks come of a public seed and of the whole model, which holds no text of the task. */
export async function spaceOf(
  name: EngineMethod,
  setting: Setting,
  { subject, seed }: { subject: Subject; seed: string },
): Promise<PlacedSpace> {
  const { rank = 4, keep = KEEP, score = 'forward', order = 'highest' } = setting
  switch (METHODS[name].space) {
    case 'full':
      return { space: { kind: 'full', directions: { kind: 'dense' }, tensors: await headTensors(subject) } }
    case 'pruned':
      return pruneModel(
        { modelDir: subject.whole, tensors: await headTensors(subject), score, seed },
        { keep, order, scope: 'global' },
      )
    case 'lora':
      return { space: { kind: 'lora', rank, trained: 'factor', sites: await headSites(subject) } }
  }
}

export const openSubject = ({ folder, task }: Subject, { space, mask }: PlacedSpace, seed: string, threads: number) =>
  openEngine({ modelDir: folder, task: task as never, space, seed, threads, ...(mask ? { mask } : {}) })
export type SubjectEngine = Awaited<ReturnType<typeof openSubject>>
