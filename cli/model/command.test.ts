/** The command itself, started as a process. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { keptFactors, keptIndices, maskHash } from '../../shared/zo/index.ts'

const ENTRY = fileURLToPath(new URL('../sotto.mjs', import.meta.url))
const modelNamed = (name: string) => fileURLToPath(new URL(`../../test/models/zoo/${name}`, import.meta.url))

const sotto = (verb: string, args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [ENTRY, 'model', verb, ...args], { encoding: 'utf8' })
  return { status, out: stdout, err: stderr }
}
const check = (...args: string[]) => sotto('check', args)
const prune = (...args: string[]) => sotto('prune', args)

describe('sotto model check', () => {
  test('answers in JSON alone, every field there', () => {
    const { status, out, err } = check(modelNamed('bert-classes-dynamo-23'), '--tokens', '16', '--json')
    expect({ status, err }).toEqual({ status: 0, err: '' })
    const answer = JSON.parse(out).data
    expect(Object.keys(answer)).toEqual(['model', 'spaces', 'memory', 'speed'])
    expect(answer.model).toMatchObject({ architecture: 'bert', layers: 2, classes: 3, vocabulary: null })
    expect(answer.model.sites).toHaveLength(10)
    expect(answer.spaces).toEqual({
      lora: { dimension: { 1: 384, 4: 1536, 8: 3072 } },
      full: { tensors: 41, dimension: 23_491 },
    })
    expect(answer.memory).toMatchObject({ tokens: 16, oneByOne: null })
    expect(answer.speed.forwardTokens).toBeGreaterThan(0)
    expect(answer.speed.roundSequences).toBeGreaterThan(0)
  })

  test('answers in words, without a speed where none is wanted', () => {
    const { status, out, err } = check(modelNamed('gpt2-past-optimum-13'), '--no-speed')
    expect({ status, err }).toEqual({ status: 0, err: '' })
    expect(out).toMatch(/^gpt2\n/)
    expect(out).toContain('layer.0-1.attention.qkv')
    expect(out).toContain('each record of 64 tokens')
    expect(out).not.toContain('tokens/s')
  })

  test('refuses a model that couples records, naming the node', () => {
    const { status, out, err } = check(modelNamed('bert-masked-optimum-14'), '--variant', 'int8', '--no-speed')
    expect({ status, out }).toEqual({ status: 2, out: '' })
    expect(err).toMatch(/^sotto: node .+ \(DynamicQuantizeLinear\) .+\n$/)
  })

  test('refuses what is no model', () => {
    const empty = mkdtempSync(join(tmpdir(), 'sotto-model-check-'))
    expect(check(empty)).toMatchObject({ status: 2, err: expect.stringContaining('onnx/model.onnx') })
    expect(check(join(empty, 'absent'))).toMatchObject({ status: 2, err: expect.stringContaining('does not exist') })
    expect(check(empty, '--tokens', '7').status).toBe(2)
    expect(check().status).toBe(2)
  })
})

describe('sotto model prune', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-model-prune-'))
  const model = modelNamed('bert-masked-optimum-14')
  const FORWARD = ['--score', 'forward', '--keep', '0.05', '--queries', '2', '--seed', '00c0ffee00c0ffee']

  test('writes a mask that fits the space it answers, and makes the same again', () => {
    const [file, answerFile] = [join(folder, 'mask.bin'), join(folder, 'mask.json')]
    const { status, out, err } = prune(model, ...FORWARD, '--output', file, '--json')
    expect({ status, err }).toEqual({ status: 0, err: '' })
    const answer = JSON.parse(out).data
    expect(Object.keys(answer)).toEqual(['space', 'made', 'layers', 'slopes', 'verified', 'seconds'])
    const kept = keptIndices(readFileSync(file), answer.space).reduce((sum, { length }) => sum + length, 0)
    expect(kept).toBe(Math.ceil(0.05 * 23_552))
    expect(answer.layers.map(({ layer }: { layer: number | null }) => layer)).toEqual([0, 1, null])
    expect(answer.layers.reduce((sum: number, layer: { kept: number }) => sum + layer.kept, 0)).toBe(kept)
    expect(answer.made).toMatchObject({ score: 'forward', order: 'highest', scope: 'global', queries: 2, radius: 1e-3 })

    writeFileSync(answerFile, out)
    const verified = prune(model, ...FORWARD, '--verify', file)
    expect(verified).toMatchObject({ status: 0, err: '', out: expect.stringContaining('the same, bit for bit') })
    expect(prune(model, ...FORWARD, '--slopes', answerFile, '--verify', file).status).toBe(0)
    expect(prune(model, ...FORWARD, '--queries', '1', '--slopes', answerFile, '--verify', file).status).toBe(2)
  })

  test('fails where the mask is another, but for what is allowed to differ', () => {
    const file = join(folder, 'flipped.bin')
    const asked = [model, '--score', 'magnitude', '--keep', '0.01', '--tensors', '^bert[.]']
    expect(prune(...asked, '--output', file).status).toBe(0)
    const mask = readFileSync(file)
    mask[mask.findIndex((byte) => byte !== 0)]! ^= 255
    writeFileSync(file, mask)
    const other = prune(...asked, '--verify', file, '--json')
    expect(other).toMatchObject({ status: 1, err: expect.stringContaining('the mask is another') })
    expect(JSON.parse(other.out)).toMatchObject({ error: { code: 'another_mask', verified: { equal: false } } })
    expect(prune(...asked, '--verify', file, '--overlap', '0.5').status).toBe(0)
  })

  test('writes the factors of ranks behind the bitset, and compares masks with them', () => {
    const file = join(folder, 'weighted.bin')
    const asked = [model, '--score', 'magnitude', '--keep', '0.05', '--scope', 'layer', '--weighted']
    const { status, out } = prune(...asked, '--output', file, '--json')
    expect(status).toBe(0)
    const { space, made } = JSON.parse(out).data
    expect([space.weighted, made.weighted]).toEqual([true, true])
    const factors = keptFactors(readFileSync(file), space)!.flatMap((each) => [...each])
    expect([Math.min(...factors), Math.max(...factors)]).toEqual([51 / 64, 77 / 64])
    expect(prune(...asked, '--verify', file)).toMatchObject({
      status: 0,
      out: expect.stringContaining('weighted by rank'),
    })
    const other = readFileSync(file)
    other[other.length - 1]! ^= 1
    writeFileSync(file, other)
    const changed = prune(...asked, '--verify', file, '--json')
    expect(changed.status).toBe(1)
    expect(JSON.parse(changed.out).error.verified).toEqual({ equal: false, overlap: 1 })
    expect(prune(...asked, '--verify', file, '--overlap', '0.99').status).toBe(0)
  })

  test('refuses what makes no mask', () => {
    const output = ['--output', join(folder, 'none.bin')]
    for (const keep of ['0', '1.5', 'x'])
      expect(prune(model, '--score', 'random', '--keep', keep, ...output).status).toBe(2)
    const refused = (...args: string[]) => prune(...args).status
    expect(refused(model, '--keep', '0.1', ...output)).toBe(2)
    expect(refused(model, '--score', 'random', '--keep', '0.1')).toBe(2)
    expect(refused(model, '--score', 'random', '--keep', '0.1', '--tensors', 'nothing', ...output)).toBe(2)
    expect(refused(model, '--score', 'random', '--keep', '0.1', '--seed', 'x', ...output)).toBe(2)
    expect(refused(model, '--score', 'forward', '--keep', '0.1', '--variant', 'q4', ...output)).toBe(2)
    expect(refused(join(folder, 'absent'), '--score', 'random', '--keep', '0.1', ...output)).toBe(2)
  })

  test('makes a mask for each stage, the kept share growing', () => {
    const file = join(folder, 'grown.bin')
    const asked = ['--score', 'magnitude', '--keep', '0.01', '--output', file, '--json']
    const { status, out } = prune(model, ...asked, '--stages', '3', '--keep-end', '0.04')
    expect(status).toBe(0)
    const answers = JSON.parse(out).data
    expect(answers.map(({ made }: { made: { keep: number } }) => made.keep)).toEqual([0.01, 0.02, 0.04])
    const masks = [0, 1, 2].map((stage) => readFileSync(join(folder, `grown.${stage}.bin`)))
    masks.forEach((mask, stage) => {
      expect(maskHash(mask)).toBe(answers[stage].space.mask)
    })
    // The larger holds the smaller: one ranking, cut at three places.
    expect(masks[0]!.every((byte, at) => (byte & masks[2]![at]!) === byte)).toBe(true)
    expect(prune(model, ...asked, '--keep-end', '0.04').status).toBe(2)
    expect(prune(model, '--score', 'magnitude', '--keep', '0.01', '--stages', '2', '--verify', file).status).toBe(2)
  })
})
