import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CALL_LIMITS, type Device } from '../../gpu-worker/engine/device/index.ts'
import { Evaluator } from '../../gpu-worker/engine/evaluate/evaluator.ts'
import { Model } from '../../gpu-worker/engine/evaluate/model.ts'
import type { EvaluatorSetup } from '../../gpu-worker/engine/evaluate/setup.ts'
import { findHead } from '../../gpu-worker/engine/graph/head.ts'
import { findSites } from '../../gpu-worker/engine/graph/sites.ts'
import { dimsOf } from '../../gpu-worker/engine/graph/tensor.ts'
import { wasmKernels } from '../../gpu-worker/engine/kernels/index.ts'
import { loadRuntime } from '../../gpu-worker/engine/ort.ts'
import type { EncodedRecord, Outputs } from '../../gpu-worker/engine/task/index.ts'
import {
  groupAt,
  groupCount,
  initialState,
  type Perturbation,
  type Space,
  spaceDimension,
  stateHash,
} from '../../shared/zo/index.ts'
import { writeEncoder, writeHalves } from '../models/build/index.ts'
import { zooModels } from '../models/zoo.ts'

/**
 * Run by a test as a process of its own, so that a driver that fails takes nothing with it: a round and an update in every
 * space, on the CPU and on WebGPU. Prints one JSON document of losses and state hashes.
 */
const runtime = await loadRuntime()
const seed = '00c0ffee00c0ffee'
/** One length: every session of a device compiles its shaders anew, which takes most of the time. */
const TOKENS = 16

interface Subject {
  readonly name: string
  readonly dir: string
  /** Precision of the file, by device; on a GPU half precision stays as it is. */
  readonly variant: Readonly<Partial<Record<Device, string>>>
  readonly outputs: Outputs
  readonly pad: number
  readonly positions: number
  readonly records: readonly EncodedRecord[]
}

const setupOf = (subject: Subject, space: Space, device: Device): EvaluatorSetup => ({
  modelDir: subject.dir,
  variant: subject.variant[device],
  outputs: subject.outputs,
  positions: new Map([[TOKENS, subject.positions]]),
  space,
  mask: undefined,
  seed,
  padToken: subject.pad,
  cacheBytes: 0,
  device,
  keepsHalves: device !== 'cpu',
  limits: { call: CALL_LIMITS[device], buckets: 4 },
})

type Rounds = Record<string, { space: Space; directions: number }>

function spacesOf(subject: Subject): Rounds {
  const none: Space = { kind: 'full', directions: { kind: 'dense' }, tensors: [] }
  const { graph } = new Model(runtime, setupOf(subject, none, 'cpu'))
  const sites = findSites(graph, findHead(graph)?.product.node)
  const lora: Space = {
    kind: 'lora',
    rank: 2,
    trained: 'factor',
    sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 0.5 })),
  }
  const tensors = sites.flatMap(({ products }) => {
    return products.map(({ weight }) => ({ name: weight.name, shape: dimsOf(weight) }))
  })
  return {
    'lora, groups': { space: lora, directions: 9 },
    'lora, records': { space: lora, directions: 1 },
    'full, dense': { space: { kind: 'full', directions: { kind: 'dense' }, tensors }, directions: 2 },
    'full, low-rank': { space: { kind: 'full', directions: { kind: 'low-rank', rank: 2 }, tensors }, directions: 2 },
  }
}

async function roundOn(device: Device, subject: Subject, space: Space, directions: number) {
  const evaluator = new Evaluator(runtime, setupOf(subject, space, device))
  const state = initialState(spaceDimension(space))
  const losses: number[][] = []
  let { current } = state
  for (const round of [0, 1]) {
    const at: Perturbation = { center: current, round, directions, radius: 0.02, sides: 'two' }
    const groups = { ...at, count: groupCount(at), at: (group: number) => groupAt(group, 'two') }
    losses.push(Array.from(await evaluator.run(subject.records, groups, 'losses')))
    // The update is the host's on every device, from the same coefficients here, so that its bits are the same.
    const coefficients = Array.from({ length: directions }, (_, k) => (k + 1) / 8)
    current = wasmKernels.update(current, { round, coefficients, learningRate: 0.05, prox: 0.1 }, { seed, space })
  }
  const leads = (await evaluator.leads()).map(({ lead, reason }) => reason ?? lead)
  await evaluator.release()
  return { losses, leads, hash: stateHash({ ...state, current }) }
}

const zooSubjects = (names: readonly string[]): Subject[] =>
  zooModels()
    .filter(({ name }) => names.includes(name))
    .map(({ name, dir, expected }) => ({
      name,
      dir,
      variant: {},
      outputs: { kind: 'vocabulary' },
      pad: expected.pad,
      positions: TOKENS,
      records: expected.records
        .filter(({ bucket }) => bucket === TOKENS)
        .map(({ ids, bucket, positions, targets, weights }) => ({
          ids: Int32Array.from(ids),
          bucket,
          positions: Int32Array.from(positions),
          targets: Int32Array.from(targets),
          weights: Float32Array.from(weights),
        })),
    }))

/** An encoder whose matrices are large enough to stay as they are: float32 on the CPU, float16 on the device. */
function halfSubject(dir: string): Subject {
  const vocabulary = 400
  writeEncoder(dir, {
    layers: 1,
    hidden: 288,
    heads: 4,
    intermediate: 384,
    vocabulary,
    positions: 32,
    classes: 2,
    seed: 3,
  })
  writeHalves(dir)
  const record = (n: number): EncodedRecord => ({
    ids: Int32Array.from({ length: 9 + n }, (_, at) => (at === 0 ? 2 : 10 + ((37 * at + 91 * n) % 300))),
    bucket: TOKENS,
    positions: Int32Array.of(0),
    targets: Int32Array.of(n % 2),
    weights: Float32Array.of(1),
  })
  return {
    name: 'float16',
    dir,
    variant: { cpu: '', webgpu: 'fp16' },
    outputs: { kind: 'classes', count: 2 },
    pad: 0,
    positions: 1,
    records: [0, 1, 2].map(record),
  }
}

async function compare(subject: Subject, rounds: Rounds) {
  const results = []
  for (const [name, { space, directions }] of Object.entries(rounds))
    results.push({
      model: subject.name,
      name,
      cpu: await roundOn('cpu', subject, space, directions),
      webgpu: await roundOn('webgpu', subject, space, directions),
    })
  return results
}

const names = process.argv.slice(2)
const results = []
for (const subject of zooSubjects(names)) results.push(...(await compare(subject, spacesOf(subject))))
const dir = mkdtempSync(join(tmpdir(), 'sotto-halves-'))
try {
  const half = halfSubject(dir)
  // Whole weights have other names in a file of float16.
  const { 'lora, groups': groups } = spacesOf(half)
  results.push(...(await compare(half, { 'lora, groups': groups! })))
} finally {
  rmSync(dir, { recursive: true, force: true })
}
console.log(JSON.stringify(results))
