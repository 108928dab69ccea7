import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Bench } from './cell.ts'
import { SAMPLING_RATE, type Setting } from './methods.ts'
import { PASSES_OF_GRADIENT } from './passes.ts'
import { spaceOf } from './subject.ts'
import type { Example } from './tasks.ts'
import { plan } from './train.ts'

const PYTHON = process.env.SOTTO_PYTHON ?? 'python3'
const SCRIPT = fileURLToPath(new URL('../torch/dp-sgd.py', import.meta.url))

/** Why DP-SGD cannot be run; undefined where it can. */
export function dpSgdMissing(): string | undefined {
  const { status } = spawnSync(PYTHON, ['-c', 'import torch, onnx'], { stdio: 'ignore' })
  return status === 0 ? undefined : `${PYTHON} imports no torch and onnx (another one: SOTTO_PYTHON)`
}

export interface DpSgdRun {
  readonly setting: Setting
  readonly epsilon: number
  readonly rounds: number
  readonly seed: string
  readonly split: 'dev' | 'test'
}

const columns = (examples: readonly Example[], labels: readonly string[]) => ({
  texts: examples.map(({ text }) => text),
  labels: examples.map(({ label }) => labels.indexOf(label)),
})

/**
 * DP-SGD on the same tensors of the same head: per-example clipping, Poisson sampling, and the noise that the product's accountant
 * asks for: a release of one vector of norm c is the same event, whatever its length.
 */
export async function runDpSgd(run: DpSgdRun, { subject, task, threads }: Bench) {
  const { setting, epsilon, rounds, seed, split } = run
  const { learningRate, clip, samplingRate = SAMPLING_RATE } = setting
  const { space } = await spaceOf('dp-aggzo', setting, { subject, seed })
  const stage = { rounds, learningRate, clip, samplingRate, radius: 1, directions: 1, lossShare: 0 as const }
  const given = { task: subject.task, epsilon, units: task.train.length, seed }
  const { spec, epsilon: spent } = plan({ stages: [stage], space: space as never }, given)
  const { noiseMultiplier } = spec.stages[0]!
  const parts = { train: columns(task.train, task.labels), held: columns(task[split], task.labels) }
  const job = { model: subject.folder, ...parts, rounds, learningRate, clip, samplingRate, noiseMultiplier, threads }
  const accuracy = inPython(job)
  return { accuracy, spent, noiseMultiplier, passes: rounds * samplingRate * PASSES_OF_GRADIENT }
}

function inPython(job: object): number {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-dp-sgd-'))
  try {
    const path = join(folder, 'job.json')
    writeFileSync(path, JSON.stringify(job))
    const { status, stdout, stderr } = spawnSync(PYTHON, [SCRIPT, path], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`dp-sgd.py failed:\n${stderr}`)
    return JSON.parse(stdout.trim().split('\n').at(-1)!).accuracy
  } finally {
    rmSync(folder, { recursive: true })
  }
}
