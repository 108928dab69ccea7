import { createHash } from 'node:crypto'
import type { z } from 'zod'
import { planRun } from '../../coordinator/run/index.ts'
import {
  type ModelManifest,
  type RunSpec,
  type runRequestSchema,
  runRequestSchema as schema,
} from '../../shared/api/index.ts'

type Request = z.input<typeof runRequestSchema>

/** A request for a small run: two sites, a few rounds. */
export function smallRequest(wanted: { model: string; datasets: string[] } & Partial<Request>): Request {
  return {
    task: {
      kind: 'prompt-classification',
      template: '{text} It was {mask}.',
      labels: { spam: 'bad', ham: 'good' },
      maxTokens: 64,
      buckets: [32, 64],
    },
    space: {
      kind: 'lora',
      rank: 2,
      sites: [
        { name: 'layer.0.attention.qkv', inputs: 8, outputs: 24, scale: 0.5 },
        { name: 'layer.0.output', inputs: 8, outputs: 8, scale: 1 },
      ],
    },
    stages: [
      { rounds: 3, learningRate: 0.1, radius: 0.01, directions: 4, clip: 1, samplingRate: 0.1 },
      {
        rounds: 2,
        learningRate: 0.05,
        radius: 0.01,
        directions: 3,
        clip: 1,
        samplingRate: 0.1,
        prox: 0.5,
        lossShare: 0,
      },
    ],
    budget: { epsilon: 4, delta: 1e-5 },
    ...wanted,
  }
}

/** The spec of a small run over datasets of a thousand records each. */
export function smallSpec(ids: readonly string[], change: Partial<Request> = {}): RunSpec {
  const asked = parseRequest(smallRequest({ model: 'a'.repeat(64), datasets: [...ids], ...change }))
  const datasets = ids.map((id) => ({ id, units: 1000, unit: 'record' as const }))
  return planRun(asked, { datasets, seed: '0123456789abcdef' }).spec
}

export const parseRequest = (request: Request) => schema.parse(request)

export const SMALL_FILES = {
  'config.json': new TextEncoder().encode('{"a":1}'),
  'weights.bin': new Uint8Array(1000).fill(7),
}

export function manifestOf(files: Record<string, Uint8Array>): ModelManifest {
  const names = Object.keys(files).sort()
  return {
    files: names.map((path) => ({
      path,
      sha256: createHash('sha256').update(files[path]!).digest('hex'),
      bytes: files[path]!.length,
    })),
  }
}
