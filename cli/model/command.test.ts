/** The command itself, started as a process. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const ENTRY = fileURLToPath(new URL('../sotto.mjs', import.meta.url))
const modelNamed = (name: string) => fileURLToPath(new URL(`../../test/models/zoo/${name}`, import.meta.url))

const check = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [ENTRY, 'model', 'check', ...args], {
    encoding: 'utf8',
  })
  return { status, out: stdout, err: stderr }
}

describe('sotto model check', () => {
  test('answers in JSON alone, every field there', () => {
    const { status, out, err } = check(modelNamed('bert-classes-dynamo-23'), '--tokens', '16', '--json')
    expect({ status, err }).toEqual({ status: 0, err: '' })
    const answer = JSON.parse(out)
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
