import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalEvent, gaussianEvent, type MechanismEvent, validateCount, validateEvent } from './event.ts'

const valid = { mechanism: 'gaussian', noiseMultiplier: 1.1, samplingRate: 0.06, neighbours: 'add-remove' } as const

describe('validateEvent', () => {
  test('accepts a Gaussian event and returns a frozen copy', () => {
    const copy = validateEvent(valid)
    expect(copy).toEqual(valid)
    expect(copy).not.toBe(valid)
    expect(Object.isFrozen(copy)).toBe(true)
  })

  test.each([
    ['null', null],
    ['a string', 'gaussian'],
    ['another mechanism', { ...valid, mechanism: 'laplace' }],
    ['another relation', { ...valid, neighbours: 'replace-one' }],
    ['a field too many', { ...valid, sensitivity: 2 }],
    ['a missing field', { mechanism: 'gaussian', noiseMultiplier: 1, samplingRate: 1 }],
    ['zero noise', { ...valid, noiseMultiplier: 0 }],
    ['negative noise', { ...valid, noiseMultiplier: -1 }],
    ['infinite noise', { ...valid, noiseMultiplier: Number.POSITIVE_INFINITY }],
    ['noise that is no number', { ...valid, noiseMultiplier: '1' }],
    ['NaN noise', { ...valid, noiseMultiplier: Number.NaN }],
    ['a rate above 1', { ...valid, samplingRate: 1.0001 }],
    ['a negative rate', { ...valid, samplingRate: -1e-9 }],
    ['a NaN rate', { ...valid, samplingRate: Number.NaN }],
  ])('refuses %s', (_, event) => {
    expect(() => validateEvent(event)).toThrow(expect.objectContaining({ code: 'invalid_event' }))
  })

  test('says nothing of the values it refuses', () => {
    expect(() => validateEvent({ ...valid, noiseMultiplier: -123.456 })).toThrow(/^[^\d-]*above 0$/)
  })
})

describe('canonicalEvent', () => {
  test('known answer: the key is part of stored logs', () => {
    expect(canonicalEvent(valid)).toBe('gaussian/add-remove/1.1/0.06')
  })

  test('ignores the order of fields and the sign of zero', () => {
    const reordered: MechanismEvent = {
      neighbours: 'add-remove',
      samplingRate: 0,
      noiseMultiplier: 2,
      mechanism: 'gaussian',
    }
    expect(canonicalEvent(reordered)).toBe(canonicalEvent({ ...reordered, samplingRate: -0 }))
  })

  test('keys are equal exactly when the parameters are', () => {
    const noise = fc.double({ min: Number.MIN_VALUE, max: 1e9, noNaN: true })
    const rate = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(noise, rate, noise, rate, (a, p, b, r) => {
        const first = gaussianEvent({ noiseMultiplier: a, samplingRate: p })
        const second = gaussianEvent({ noiseMultiplier: b, samplingRate: r })
        expect(canonicalEvent(first) === canonicalEvent(second)).toBe(a === b && p === r)
        const [, , noiseText, rateText] = canonicalEvent(first).split('/')
        expect([Number(noiseText), Number(rateText)]).toEqual([a, p + 0])
      }),
    )
  })
})

test.each([-1, 0.5, 2 ** 53, Number.NaN])('validateCount refuses %s', (count) => {
  expect(() => validateCount(count)).toThrow(expect.objectContaining({ code: 'invalid_count' }))
})
