import { describe, expect, it } from 'vitest'
import { canonicalJson, hashHex } from './canonical.ts'
import { EMPTY_LOG, LedgerError, runLog } from './chain.ts'
import type { RunEntry } from './record.ts'

const entries: RunEntry[] = [
  { type: 'open', round: 0, stage: 0 },
  {
    type: 'charge',
    round: 0,
    dataset: 'north',
    lease: 'l-1',
    attempt: 0,
    event: { mechanism: 'gaussian', noiseMultiplier: 1.5, samplingRate: 0.06, neighbours: 'add-remove' },
  },
]
const codeOf = (action: () => unknown) => {
  try {
    action()
  } catch (error) {
    return error instanceof LedgerError ? error.code : String(error)
  }
  return 'no error'
}

describe('canonical JSON', () => {
  it('sorts keys at every depth, drops undefined, keeps order of arrays', () => {
    expect(canonicalJson({ b: [2, { d: 1, c: 'é' }], a: undefined, A: null })).toBe(
      '{"A":null,"b":[2,{"c":"é","d":1}]}',
    )
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1n, () => 1, undefined])('refuses %s', (value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError)
  })
})

describe('chain', () => {
  const first = runLog.append(EMPTY_LOG, entries, 1000)
  const second = runLog.append(first.head, [{ type: 'open', round: 1, stage: 0 }], 900)

  it('reads back what it wrote, segment after segment', () => {
    const a = runLog.read(EMPTY_LOG, first.segment.text)
    const b = runLog.read(a.head, second.segment.text)
    expect([...a.records, ...b.records]).toEqual([...first.segment.records, ...second.segment.records])
    expect(b.head).toEqual(second.head)
  })

  it('names the hash of the record before', () => {
    const [openLine, chargeLine] = first.segment.text.split('\n')
    expect(JSON.parse(chargeLine!).prev).toBe(hashHex(openLine!))
    expect(second.segment.records[0]!.prev).toBe(hashHex(chargeLine!))
  })

  it('never lets time go backwards', () => {
    expect(second.segment.records[0]!.time).toBe(1000)
  })

  it('refuses a flip of any single character', () => {
    const { text } = first.segment
    for (let i = 0; i < text.length - 1; i++) {
      const flipped = text.slice(0, i) + (text[i] === '1' ? '2' : '1') + text.slice(i + 1)
      // The last record's hash is held by the record after it, or by the head.
      const survived = codeOf(() => {
        if (runLog.read(EMPTY_LOG, flipped).head.hash === first.head.hash) throw new Error('same head')
      })
      expect(['no error', 'not_canonical', 'not_a_record', 'broken_chain', 'out_of_order']).toContain(survived)
    }
  })

  it.each([
    ['another order', () => runLog.read(EMPTY_LOG, second.segment.text), 'out_of_order'],
    ['a gap', () => runLog.read(first.head, first.segment.text), 'out_of_order'],
    ['another past', () => runLog.read({ ...first.head, hash: 'f'.repeat(64) }, second.segment.text), 'broken_chain'],
    ['no newline', () => runLog.read(EMPTY_LOG, first.segment.text.trimEnd()), 'not_canonical'],
    ['white space', () => runLog.read(EMPTY_LOG, first.segment.text.replace(',', ', ')), 'not_canonical'],
    ['an unknown key', () => runLog.read(EMPTY_LOG, first.segment.text.replace('{', '{"!":1,')), 'not_a_record'],
    ['no JSON', () => runLog.read(EMPTY_LOG, 'x\n'), 'not_canonical'],
  ])('refuses %s', (_, read, code) => {
    expect(codeOf(read)).toBe(code)
  })

  it('names segments by their first record', () => {
    expect(runLog.segmentKey('run-1', 42)).toBe('runs/run-1/log/00000042.jsonl')
  })
})
