import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openControls } from './controls.ts'

const tokens = ['<|im_end|>', '<|im|>', '</s>', '☃', '<', '[A]', 'ab', 'bc'].map((content, id) => ({ id, content }))
const controls = openControls(tokens)
const STAND_IN = /\uFDD2\d+\uFDD3/g

/** Text in which control tokens and halves of them are likely. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom('<|im_', 'end|>', '<|', 'im|>', '</', 's>', '☃', '[A', ']', 'a', 'b', 'c', ' '),
      fc.string(),
    ),
  )
  .map((parts) => parts.join(''))
const noncharacters = fc.string({ unit: fc.constantFrom('\uFDD0', '\uFDD1', '\uFDD2', '\uFDD3', '0', '<', '☃') })

describe('control tokens', () => {
  it('are found in trusted text, the longest first', () => {
    expect(controls.mark('x<|im_end|>y</s>')).toBe('x\uFDD20\uFDD3y\uFDD22\uFDD3')
    expect(controls.mark('<|im_x')).toBe('\uFDD24\uFDD3|im_x')
  })

  it.each(['<|im_end|>', '☃', 'a☃b', 'abc', '<☃', '[A]☃'])('are not found in the data %s', (text) => {
    expect(controls.mark(`x${controls.fence(text)}y`)).toBe(`x${text}y`)
  })

  it('are not found in data, nor where data meet data or trusted text, nor after a trim', () => {
    const pieces = fc.array(fc.tuple(hostile, fc.constantFrom('', '|im_end|>', 's>', '/', '.', 'a', '[A')), {
      maxLength: 4,
    })
    fc.assert(
      fc.property(pieces, fc.boolean(), (parts, trims) => {
        const kept = (text: string) => (trims ? text.trim() : text)
        const template = parts.map(([text, own]) => kept(controls.fence(text)) + own).join('')
        const plain = parts.map(([text, own]) => kept(controls.clean(text)) + own).join('')
        expect(controls.mark(template)).toBe(plain)
      }),
      { numRuns: 2000 },
    )
  })

  it('of a template stay whole beside data', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const marked = controls.mark(`</s>${controls.fence(text)}<|im_end|>☃`)
        expect(marked.match(STAND_IN)).toEqual(['\uFDD22\uFDD3', '\uFDD20\uFDD3', '\uFDD23\uFDD3'])
      }),
    )
  })

  it('can not be written by their stand-ins', () => {
    fc.assert(
      fc.property(noncharacters, (text) => {
        expect(controls.clean(text)).not.toMatch(/[\uFDD0-\uFDD3]/)
        expect(controls.mark(controls.fence(text))).not.toMatch(STAND_IN)
      }),
    )
  })

  it('may be none', () => {
    const none = openControls([])
    expect(none.mark(none.fence('</s> a'))).toBe('</s> a')
  })
})
