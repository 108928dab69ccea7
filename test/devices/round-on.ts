import { CALL_LIMITS, type Device } from '../../gpu-worker/engine/device/index.ts'
import { Evaluator } from '../../gpu-worker/engine/evaluate/evaluator.ts'
import { Model } from '../../gpu-worker/engine/evaluate/model.ts'
import type { EvaluatorSetup } from '../../gpu-worker/engine/evaluate/setup.ts'
import { findHead } from '../../gpu-worker/engine/graph/head.ts'
import { findSites } from '../../gpu-worker/engine/graph/sites.ts'
import { dimsOf } from '../../gpu-worker/engine/graph/tensor.ts'
import { wasmKernels } from '../../gpu-worker/engine/kernels/index.ts'
import { loadRuntime } from '../../gpu-worker/engine/ort.ts'
import {
  groupAt,
  groupCount,
  initialState,
  type Perturbation,
  type Space,
  spaceDimension,
  stateHash,
} from '../../shared/zo/index.ts'
import { type ZooModel, zooModels } from '../models/zoo.ts'

/**
 * Run by a test as a process of its own, so that a driver that fails takes nothing with it: a round and an update in every
 * space, on the CPU and on WebGPU. Prints one JSON document of losses and state hashes.
 */
const runtime = await loadRuntime()
const seed = '00c0ffee00c0ffee'

const setupOf = (model: ZooModel, space: Space, device: Device): EvaluatorSetup => ({
  modelDir: model.dir,
  variant: undefined,
  outputs: { kind: 'vocabulary' },
  positions: new Map(model.expected.records.map(({ bucket }) => [bucket, 16])),
  space,
  mask: undefined,
  seed,
  padToken: model.expected.pad,
  cacheBytes: 0,
  device,
  limits: { call: CALL_LIMITS[device], buckets: 4 },
})

function spacesOf(model: ZooModel): Record<string, { space: Space; directions: number }> {
  const none: Space = { kind: 'full', directions: { kind: 'dense' }, tensors: [] }
  const { graph } = new Model(runtime, setupOf(model, none, 'cpu'))
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

async function roundOn(device: Device, model: ZooModel, space: Space, directions: number) {
  const evaluator = new Evaluator(runtime, setupOf(model, space, device))
  // One length: every session of a device compiles its shaders anew, which takes most of the time.
  const records = model.expected.records
    .filter(({ bucket }) => bucket === 16)
    .map(({ ids, bucket, positions, targets, weights }) => ({
      ids: Int32Array.from(ids),
      bucket,
      positions: Int32Array.from(positions),
      targets: Int32Array.from(targets),
      weights: Float32Array.from(weights),
    }))
  const state = initialState(spaceDimension(space))
  const losses: number[][] = []
  let { current } = state
  for (const round of [0, 1]) {
    const at: Perturbation = { center: current, round, directions, radius: 0.02, sides: 'two' }
    const groups = { ...at, count: groupCount(at), at: (group: number) => groupAt(group, 'two') }
    losses.push(Array.from(await evaluator.run(records, groups, 'losses')))
    // The update is the host's on every device, from the same coefficients here, so that its bits are the same.
    const coefficients = Array.from({ length: directions }, (_, k) => (k + 1) / 8)
    current = wasmKernels.update(current, { round, coefficients, learningRate: 0.05, prox: 0.1 }, { seed, space })
  }
  const leads = (await evaluator.leads()).map(({ lead, reason }) => reason ?? lead)
  await evaluator.release()
  return { losses, leads, hash: stateHash({ ...state, current }) }
}

const names = process.argv.slice(2)
const results = []
for (const model of zooModels().filter(({ name }) => names.includes(name)))
  for (const [name, { space, directions }] of Object.entries(spacesOf(model)))
    results.push({
      model: model.name,
      name,
      cpu: await roundOn('cpu', model, space, directions),
      webgpu: await roundOn('webgpu', model, space, directions),
    })
console.log(JSON.stringify(results))
