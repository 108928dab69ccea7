import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type EncodedRecord, type Engine, openEngine } from '../../../gpu-worker/engine/index.ts'
import {
  direction,
  type FullSpace,
  frozenFactor,
  type LoraSpace,
  type Space,
  spaceDimension,
} from '../../../shared/zo/index.ts'
import { encoderFolder, fullSpace, loraSpace, recordsOf, SEED, taskOf } from '../engine/subject.ts'
import { median } from '../median.ts'

/** The engine against the plain PyTorch loop of dpzero.py: same weights, batch and directions, as many threads. */

export interface TorchSetting {
  readonly tokens: number
  readonly records: number
  readonly directions: number
  readonly threads: number
  readonly turns: number
}

export interface TorchComparison extends TorchSetting {
  /**
   * Directions times records a second. PyTorch: `dpzero` and `aggzo` perturb all weights by dense normal directions from a
   * seed; `given` the directions of the engine's space. Engine: factors at all layers; all weights, dense.
   */
  readonly torch: { readonly dpzero: number; readonly aggzo: number; readonly given: number }
  readonly engine: { readonly lora: number; readonly full: number }
  /** Largest error of a finite difference over their root mean square, engine against PyTorch in float32. */
  readonly differenceErrors: { readonly lora: number; readonly full: number }
}

const PYTHON = process.env.SOTTO_PYTHON ?? 'python3'
const RANK = 4
/** Large enough that the differences stand above the rounding of float32 losses. */
const RADIUS = { lora: 0.05, full: 1e-3 }
const MAX_BUFFER = 2 ** 28

/** Why the comparison cannot be made; undefined where it can. */
export function torchMissing(): string | undefined {
  const { status } = spawnSync(PYTHON, ['-c', 'import torch, onnx'], { stdio: 'ignore' })
  return status === 0 ? undefined : `${PYTHON} imports no torch and onnx (another one: SOTTO_PYTHON)`
}

/** Weights behind a site of a BERT layer, in the order of its columns. */
function weightsOf(site: string): string[] {
  const [, index, place] = /^layer\.(\d+)\.(.+)$/.exec(site) as unknown as [string, string, string]
  const modules: Readonly<Record<string, readonly string[]>> = {
    'attention.qkv': ['attention.self.query', 'attention.self.key', 'attention.self.value'],
    'attention.output': ['attention.output.dense'],
    'ffn.up': ['intermediate.dense'],
    'ffn.down': ['output.dense'],
  }
  return modules[place]!.map((module) => `bert.encoder.layer.${index}.${module}.weight`)
}

/** Centre, directions and frozen factors as dpzero.py reads them. */
function directionBytes(space: Space, center: Float32Array, directions: number): Uint8Array {
  const signs = Array.from({ length: directions }, (_, k) => direction(SEED, { round: 0, k }, space))
  const frozen =
    space.kind === 'lora' ? space.sites.map((_, site) => frozenFactor(SEED, { stage: 0, site }, space)) : []
  return Buffer.concat(
    [center, ...signs, ...frozen].map(({ buffer, byteOffset, byteLength }) => {
      return new Uint8Array(buffer, byteOffset, byteLength)
    }),
  )
}

const described = (space: LoraSpace | FullSpace) =>
  space.kind === 'full'
    ? { tensors: space.tensors.map(({ name }) => name) }
    : { sites: space.sites.map(({ name, ...site }) => ({ ...site, rank: space.rank, weights: weightsOf(name) })) }

/** What dpzero.py can time. */
type Loop = 'dpzero' | 'aggzo' | 'given'

interface Answer {
  readonly directionSequencesPerSecond: Readonly<Record<Loop, number>>
  readonly differences: readonly (readonly number[])[]
}

interface Subject {
  readonly dir: string
  readonly space: LoraSpace | FullSpace
  readonly center: Float32Array
  readonly records: readonly EncodedRecord[]
  readonly radius: number
}

function runTorch(
  { dir, space, center, records, radius }: Subject,
  setting: TorchSetting,
  time: readonly Loop[],
): Answer {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-torch-'))
  try {
    const file = join(folder, 'directions.bin')
    writeFileSync(file, directionBytes(space, center, setting.directions))
    const batch = {
      ids: records.map(({ ids }) => [...ids]),
      present: records.map(({ ids }) => ids.length),
      labels: records.map(({ targets }) => targets[0]),
    }
    const { directions, threads, turns } = setting
    const given = { file, ...described(space) }
    const job = { model: dir, batch, radius, directions, threads, repeats: turns, time, given }
    const path = join(folder, 'job.json')
    writeFileSync(path, JSON.stringify(job))
    const script = fileURLToPath(new URL('dpzero.py', import.meta.url))
    const { status, stdout, stderr } = spawnSync(PYTHON, [script, path], { encoding: 'utf8', maxBuffer: MAX_BUFFER })
    if (status !== 0) throw new Error(`dpzero.py failed:\n${stderr}`)
    return JSON.parse(stdout.trim().split('\n').at(-1)!)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

interface EngineRun {
  readonly rate: number
  readonly differences: readonly (readonly number[])[]
}

async function runEngine(subject: Subject, { directions, threads, turns, tokens }: TorchSetting): Promise<EngineRun> {
  const { dir, space, center, records, radius } = subject
  const engine: Engine = await openEngine({
    modelDir: dir,
    task: taskOf(tokens),
    space,
    seed: SEED,
    threads,
    cacheBytes: 0,
  })
  const at = { center, round: 0, directions, radius, sides: 'two' } as const
  const losses = await engine.losses(records, at)
  const seconds: number[] = []
  for (let turn = 0; turn < turns; turn++) {
    const started = performance.now()
    await engine.losses(records, { ...at, round: turn + 1 })
    seconds.push((performance.now() - started) / 1000)
  }
  await engine.close()
  const differences = records.map((_, n) =>
    Array.from({ length: directions }, (_, k) => {
      const above = 2 * (n * directions + k)
      return (losses[above]! - losses[above + 1]!) / (2 * radius)
    }),
  )
  return { rate: (directions * records.length) / median(seconds), differences }
}

function largestError(ours: EngineRun['differences'], theirs: EngineRun['differences']): number {
  const [a, b] = [ours.flat(), theirs.flat()]
  const size = Math.sqrt(b.reduce((sum, value) => sum + value * value, 0) / b.length)
  return Math.max(...a.map((value, at) => Math.abs(value - b[at]!))) / size
}

/** Runs both in turn, each alone on the machine. @throws Error with Python's own words where the script fails. */
export async function compareWithTorch(setting: TorchSetting): Promise<TorchComparison> {
  const dir = encoderFolder()
  const records = recordsOf(setting.records, setting.tokens)
  const centred = (space: LoraSpace | FullSpace, radius: number): Subject => {
    const center = Float32Array.from({ length: spaceDimension(space) }, (_, i) => 0.5 * radius * Math.sin(i))
    return { dir, space, center, records, radius }
  }
  const factors = centred(await loraSpace(dir, { rank: RANK, firstLayer: 0 }), RADIUS.lora)
  const whole = centred(await fullSpace(dir), RADIUS.full)
  const ours = { lora: await runEngine(factors, setting), full: await runEngine(whole, setting) }
  const theirs = { lora: runTorch(factors, setting, ['given']), full: runTorch(whole, setting, ['dpzero', 'aggzo']) }
  const { dpzero, aggzo } = theirs.full.directionSequencesPerSecond
  return {
    ...setting,
    torch: { dpzero, aggzo, given: theirs.lora.directionSequencesPerSecond.given },
    engine: { lora: ours.lora.rate, full: ours.full.rate },
    differenceErrors: {
      lora: largestError(ours.lora.differences, theirs.lora.differences),
      full: largestError(ours.full.differences, theirs.full.differences),
    },
  }
}
