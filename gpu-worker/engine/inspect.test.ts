import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { zooModels } from '../../test/models/zoo.ts'
import { inspectModel } from './index.ts'

const models = new Map(zooModels().map((model) => [model.name, model]))
const dirOf = (name: string): string => models.get(name)!.dir
const TASKS = {
  'masked-lm': 'prompt-classification',
  'sequence-classification': 'sequence-classification',
  'causal-lm': 'causal-lm',
} as const

describe('an inspection', () => {
  it.each([...models.values()])('says what the model is: $name', async ({ dir, architecture, task, opset }) => {
    const inspection = await inspectModel(dir)
    expect(inspection).toMatchObject({
      ...{ architecture, layers: 2, tasks: [TASKS[task]], precision: 'float32', quantisation: undefined },
      file: join('onnx', 'model.onnx'),
      classes: task === 'sequence-classification' ? 3 : undefined,
      vocabulary: task === 'sequence-classification' ? undefined : 96,
    })
    expect(inspection.opset).toBe(opset)
    expect(inspection.exporter).toMatch(/torch/)
    expect(inspection.bytes.graph).toBeGreaterThan(10_000)
  })

  it('counts parameters once, and more bytes than the file where float16 is widened', async () => {
    const dir = dirOf('bert-masked-optimum-14')
    const [plain, half, four, eight] = await Promise.all(
      ['', 'fp16', 'q4', 'int8_weights'].map((variant) => inspectModel(dir, { variant })),
    )
    const trained = plain!.weights.reduce((sum, { parameters }) => sum + parameters, 0)
    expect(plain!.parameters).toBe(trained)
    expect(half!.parameters).toBe(trained)
    expect(four!.parameters).toBeGreaterThan(0.9 * trained)
    expect(half).toMatchObject({ precision: 'float16', bytes: { weights: plain!.bytes.weights } })
    expect(half!.bytes.graph).toBeLessThan(plain!.bytes.graph)
    expect(four).toMatchObject({ precision: 'int4', quantisation: 'weights alone, 4 bits in blocks of 32' })
    expect(eight).toMatchObject({ precision: 'int8', quantisation: 'weights alone, 8 bits' })
    expect(four!.quantisedSites).toEqual(four!.sites.map(({ name }) => name))
    expect(plain!.quantisedSites).toEqual([])
    expect((await inspectModel(dir, { variant: 'int8_static' })).quantisation).toMatch(/fixed in the file/)
  })

  it('knows the bytes of data files', async () => {
    const external = [...models.values()].find((model) => model.external !== null)!
    const { bytes } = await inspectModel(external.dir)
    expect(bytes.data).toBeGreaterThan(bytes.weights / 2)
  })

  it('tells the task by the head where config.json does not', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-inspect-'))
    cpSync(dirOf('roberta-classes-legacy-12'), folder, { recursive: true })
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ vocab_size: 96 }))
    expect(await inspectModel(folder)).toMatchObject({ tasks: ['sequence-classification'], architecture: undefined })
    rmSync(join(folder, 'config.json'))
    expect(await inspectModel(folder)).toMatchObject({ tasks: [], vocabulary: 3 })
    writeFileSync(join(folder, 'config.json'), '{')
    await expect(inspectModel(folder)).rejects.toMatchObject({ code: 'malformed_model' })
    rmSync(folder, { recursive: true })
  })

  it('refuses a variant whose scales couple records, and one that is not there', async () => {
    const dir = dirOf('bert-masked-optimum-14')
    await expect(inspectModel(dir, { variant: 'int8' })).rejects.toMatchObject({ code: 'coupled_batch' })
    await expect(inspectModel(dir, { variant: 'bnb4' })).rejects.toMatchObject({ code: 'missing_model_file' })
  })
})
