import { describe, expect, test } from 'vitest'
import type { Check } from './check.ts'
import { bytes, reportText, short, siteRows } from './report.ts'

const site = (name: string, inputs = 4, outputs = 12) => ({ name, inputs, outputs })
const check: Check = {
  model: {
    sites: [0, 1, 2].flatMap((layer) => [site(`layer.${layer}.attention.qkv`), site(`layer.${layer}.ffn.down`, 8, 4)]),
    quantisedSites: [],
    activations: [0, 1, 2].map((layer) => ({ name: `layer.${layer}`, size: 4 })),
    weights: [{ name: 'w', shape: [4, 4], parameters: 16 }],
    hidden: 4,
    layers: 3,
    vocabulary: 100,
    classes: undefined,
    tasks: ['causal-lm'],
    architecture: 'gpt2',
    positions: 64,
    file: 'onnx/model.onnx',
    exporter: 'pytorch 2.13',
    opset: 18,
    bytes: { graph: 1000, data: 2_000_000, weights: 4_000_000 },
    parameters: 1_000_000,
    precision: 'float32',
    quantisation: undefined,
  },
  spaces: { lora: { dimension: { 1: 36, 4: 144, 8: 288 } }, full: { tensors: 1, dimension: 16 } },
  memory: { tokens: 64, weightBytes: 4_000_000, activationBytes: 12_345, oneByOne: null },
  speed: { forwardTokens: 6400, roundSequences: 50, lead: 'groups', reason: null },
}

describe('rows of sites', () => {
  test('hold what is the same in successive layers', () => {
    const rows = siteRows([...check.model.sites, site('head.transform')])
    expect(rows.map(({ name, count }) => [name, count])).toEqual([
      ['layer.0-2.attention.qkv', 3],
      ['layer.0-2.ffn.down', 3],
      ['head.transform', 1],
    ])
  })

  test('tell apart what has another shape, and layers with gaps', () => {
    const rows = siteRows([0, 2].map((layer) => site(`layer.${layer}.ffn.up`)).concat(site('layer.1.ffn.up', 4, 16)))
    expect(rows.map(({ name }) => name)).toEqual(['layer.0,2.ffn.up', 'layer.1.ffn.up'])
  })
})

test('numbers are short', () => {
  expect([short(12), short(22_713_216), short(1_300_000_000)]).toEqual(['12', '22.7M', '1.3B'])
  expect([bytes(0), bytes(999), bytes(90_900_000), bytes(5.2e9)]).toEqual(['0 B', '999 B', '90.9 MB', '5.2 GB'])
})

describe('the report', () => {
  test('says what is known', () => {
    const text = reportText(check)
    expect(text).toContain('layer.0-2.attention.qkv')
    expect(text).toMatch(/all 6 sites +36 +144 +288\n/)
    expect(text).toContain('1 tensors, 16 coordinates at most')
    expect(text).toContain('space statistic: activations layer.0-2, 4 wide\n')
    expect(text).toContain('100 tokens: causal-lm')
    // 50 sequences of 64 tokens against 6400 tokens a second.
    expect(text).toContain('50 direction-sequences/s, 0.50 of the plain model')
    expect(text).not.toContain('undefined')
    expect(text.split('\n').every((line) => line === line.trimEnd())).toBe(true)
  })

  test('leaves out speed where none was measured, and says why a round runs one by one or not at all', () => {
    expect(reportText({ ...check, speed: null })).not.toContain('speed')
    const single = { ...check.speed!, lead: 'single', reason: 'node x' }
    expect(reportText({ ...check, speed: single })).toContain('one by one: node x')
    const none = { forwardTokens: 1, roundSequences: null, lead: null, reason: 'node y' }
    expect(reportText({ ...check, speed: none })).toContain('does not run: node y')
  })

  test('says what a quantised model cannot train', () => {
    const model = {
      ...check.model,
      quantisedSites: ['layer.0.ffn.down'],
      precision: 'int4' as const,
      quantisation: 'x',
    }
    expect(reportText({ ...check, model })).toMatch(/int4: x[\s\S]*quantised and are none of them/)
    const full = { tensors: 0, dimension: 0 }
    expect(reportText({ ...check, spaces: { ...check.spaces, full } })).toContain('no weight is there as numbers')
  })
})
