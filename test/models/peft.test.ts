import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { merged } from '../../cli/adapter/merge.ts'
import { modulesOf } from '../../cli/adapter/modules.ts'
import { peftAdapter } from '../../cli/adapter/peft.ts'
import { readSafetensors } from '../../cli/adapter/safetensors.ts'
import { Model } from '../../gpu-worker/engine/evaluate/model.ts'
import { findHead } from '../../gpu-worker/engine/graph/head.ts'
import { findSites } from '../../gpu-worker/engine/graph/sites.ts'
import { loadRuntime } from '../../gpu-worker/engine/ort.ts'
import { adapterFile, type FullSpace, type LoraSpace, type Stage, spaceDimension } from '../../shared/zo/index.ts'
import { type ZooModel, zooModels } from './zoo.ts'
import { SEED, setupOf, workerLosses } from './zoo-evaluators.ts'

/** Adapters of tiny models of real architectures, exported for PEFT: the same model there as in the worker. */

const NOTHING: FullSpace = { kind: 'full', directions: { kind: 'dense' }, tensors: [] }
const RANK = 2
const runtime = await loadRuntime()
const folder = mkdtempSync(join(tmpdir(), 'sotto-peft-'))
afterAll(() => rmSync(folder, { recursive: true }))

const SCRIPT = fileURLToPath(new URL('check-peft.py', import.meta.url))
const python = process.env.SOTTO_TORCH_PYTHON ?? fileURLToPath(new URL('../../.venv/bin/python', import.meta.url))
const hasTorch = existsSync(python) && spawnSync(python, ['-c', 'import torch, transformers, peft']).status === 0
const title = `in PyTorch too${hasTorch ? '' : ' (skipped: SOTTO_TORCH_PYTHON names no Python with torch, transformers and peft)'}`

/** A space of all sites of a model, and a state in it. */
function trained(model: ZooModel): { space: LoraSpace; center: Float32Array } {
  const { graph } = new Model(runtime, setupOf(model, [{ space: NOTHING, mask: undefined }]))
  const sites = findSites(graph, findHead(graph)?.product.node)
  const space: LoraSpace = {
    kind: 'lora',
    rank: RANK,
    trained: 'factor',
    sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 0.5 })),
  }
  const center = Float32Array.from({ length: spaceDimension(space) }, (_, i) => Math.sin(i * i + 1) * 0.05)
  return { space, center }
}

function adapterOf(space: LoraSpace, center: Float32Array): Uint8Array {
  const stage = { rounds: 1, space } as unknown as Stage
  const resolved = { seed: SEED, space, stages: [stage] }
  return adapterFile({ id: 'run-0', resolved, specHash: 'a'.repeat(64) }, { stage: 0, finished: [], current: center })
}

const lossesOf = (model: ZooModel, space: LoraSpace, center: Float32Array) =>
  workerLosses(runtime, model, [{ space, mask: undefined, trained: center }])

const modules: Record<string, Record<string, [number, number]>> = JSON.parse(
  readFileSync(new URL('modules.json', import.meta.url), 'utf8'),
)

describe.each(zooModels().map((model) => [model.name, model] as const))('the adapter of %s', (name, model) => {
  const config = JSON.parse(readFileSync(join(model.dir, 'config.json'), 'utf8'))

  it('names modules that the library has, each of its shape, and adds to them what the worker adds', () => {
    const { space, center } = trained(model)
    const bytes = adapterOf(space, center)
    const { weights, config: made } = peftAdapter(bytes, config, 'base')
    const { tensors } = readSafetensors(weights, 'the export')
    const own = readSafetensors(bytes, 'the adapter').tensors
    expect(made).toMatchObject({ r: RANK, lora_alpha: RANK, fan_in_fan_out: model.architecture === 'gpt2' })
    expect(tensors.size).toBe(2 * made.target_modules.length)
    for (const path of made.target_modules) {
      const shape = modules[name]![path]
      expect(shape, path).toBeDefined()
      expect(tensors.get(`base_model.model.${path}.lora_A.weight`)!.shape).toEqual([RANK, shape![0]])
      expect(tensors.get(`base_model.model.${path}.lora_B.weight`)!.shape).toEqual([shape![1], RANK])
    }
    for (const { name: site, inputs, outputs } of space.sites) {
      const [a, v] = [own.get(`${site}.stage0.A`)!, own.get(`${site}.stage0.V`)!]
      for (const { path, from, to } of modulesOf(site, outputs, config)!) {
        const down = tensors.get(`base_model.model.${path}.lora_A.weight`)!.data
        const up = tensors.get(`base_model.model.${path}.lora_B.weight`)!.data
        for (const [i, o] of [
          [0, 0],
          [inputs - 1, to - from - 1],
          [1, to - from - 2],
        ] as const) {
          let [ours, theirs] = [0, 0]
          for (let k = 0; k < RANK; k++) {
            ours += a.data[i * RANK + k]! * v.data[k * outputs + from + o]!
            theirs += up[o * RANK + k]! * down[k * inputs + i]!
          }
          expect(theirs).toBe(ours)
        }
      }
    }
  })

  it.skipIf(!hasTorch)(`gives the losses of the worker ${title}`, async () => {
    const { space, center } = trained(model)
    const { weights, config: made } = peftAdapter(adapterOf(space, center), config, 'base')
    const place = mkdtempSync(join(folder, `${name}-`))
    writeFileSync(join(place, 'adapter_model.safetensors'), weights)
    writeFileSync(join(place, 'adapter_config.json'), JSON.stringify(made))
    const { stdout, stderr, status } = spawnSync(python, [SCRIPT, 'losses', name, place], { encoding: 'utf8' })
    expect(status, stderr).toBe(0)
    const told: { base: number[]; adapted: number[] } = JSON.parse(stdout)
    const losses = await lossesOf(model, space, center)
    for (const [i, { loss }] of model.expected.records.entries()) {
      expect(Math.abs(told.base[i]! - loss)).toBeLessThan(1e-4 * Math.max(1, loss))
      expect(Math.abs(told.adapted[i]! - losses[i]!)).toBeLessThan(1e-4 * Math.max(1, losses[i]!))
    }
    // The adapter does something.
    expect(Math.max(...losses.map((loss, i) => Math.abs(loss - told.base[i]!)))).toBeGreaterThan(1e-2)
  })

  it.skipIf(!hasTorch)(`and merged into the weights gives them ${title}`, async () => {
    const place = mkdtempSync(join(folder, `${name}-`))
    const script = (verb: string, at: string) => {
      const { stdout, stderr, status } = spawnSync(python, [SCRIPT, verb, name, at], { encoding: 'utf8' })
      expect(status, stderr).toBe(0)
      return stdout
    }
    script('save', place)
    const { space, center } = trained(model)
    const output = mkdtempSync(join(folder, `${name}-merged-`))
    const weights = [join(place, 'model.safetensors')]
    merged(adapterOf(space, center), { format: 'safetensors', model: model.dir, weights }, output)
    const told: { merged: number[] } = JSON.parse(script('merged', output))
    const losses = await lossesOf(model, space, center)
    for (const [i, loss] of losses.entries())
      expect(Math.abs(told.merged[i]! - loss)).toBeLessThan(1e-4 * Math.max(1, loss))
  })
})
