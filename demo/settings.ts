import { fileURLToPath } from 'node:url'
import type { PromptClassification, RunRequest } from '../shared/api/index.ts'
import type { LoraSpace } from '../shared/zo/index.ts'

/** What the demo trains and spends; see docs/benchmarks.md for how the numbers were found. */
export const MODEL_FOLDER = fileURLToPath(new URL('./model/spam-encoder', import.meta.url))
/** What the run may spend of each mailbox. */
export const BUDGET = { epsilon: 4, delta: 1e-5 }
/** What all runs ever may spend of each mailbox. */
export const LIFETIME_BUDGET = { epsilon: 8, delta: 1e-5 }
export const MAILBOXES = ['north', 'east', 'west'] as const

export const TASK: PromptClassification = {
  kind: 'prompt-classification',
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 96,
  buckets: [48, 96],
}

export const METHOD: {
  rank: number
  sites: readonly { name: string; scale: number }[]
  preset: RunRequest['preset']
} = {
  rank: 8,
  sites: [
    { name: 'layer.2.ffn.down', scale: 1 },
    { name: 'head.transform', scale: 1 },
  ],
  preset: { name: 'sotto', samplingRate: 0.06, rounds: 250 },
}

/** The request of the demo's run, for a model and its space. */
export function runRequest(model: string, space: LoraSpace): RunRequest {
  return {
    model,
    task: TASK,
    space: { ...space, sites: [...space.sites] },
    preset: METHOD.preset,
    datasets: [...MAILBOXES],
    budget: BUDGET,
    deadlineSeconds: 600,
    leaseSeconds: 120,
  }
}
