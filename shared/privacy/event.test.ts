import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  canonicalEvent,
  canonicalHistory,
  distinctEvents,
  type EventCount,
  gaussianEvent,
  laplaceEvent,
  type MechanismEvent,
  mechanismEvent,
  neighboursOf,
  parseEvent,
  validateCount,
  validateEvent,
} from './event.ts'

const valid = { mechanism: 'gaussian', noiseMultiplier: 1.1, samplingRate: 0.06, neighbours: 'add-remove' } as const
const refusal = (message: RegExp) =>
  expect.objectContaining({ code: 'invalid_event', message: expect.stringMatching(message) })

const events = fc.record({
  mechanism: fc.constantFrom('gaussian', 'laplace'),
  noiseMultiplier: fc.oneof(
    fc.double({ min: Number.MIN_VALUE, max: 1e9, noNaN: true }),
    fc.constantFrom(1, 2, 1e21, 1e-7),
  ),
  samplingRate: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 1, 0.06, 1e-7)),
  neighbours: fc.constantFrom('add-remove', 'zero-out', 'replace-one'),
}) as fc.Arbitrary<MechanismEvent>
const histories = fc.array(fc.record({ event: events, count: fc.nat(1000) }), { maxLength: 6 })

describe('validateEvent', () => {
  test.each([
    valid,
    { ...valid, mechanism: 'laplace' },
    { ...valid, neighbours: 'zero-out' },
    { ...valid, mechanism: 'laplace', neighbours: 'replace-one', samplingRate: 0 },
  ])('accepts %j and returns a frozen copy', (event) => {
    const copy = validateEvent(event)
    expect(copy).toEqual(event)
    expect(copy).not.toBe(event)
    expect(Object.isFrozen(copy)).toBe(true)
  })

  test.each([
    ['null', null, /not an object/],
    ['a string', 'gaussian', /not an object/],
    ['another mechanism', { ...valid, mechanism: 'staircase' }, /unknown mechanism/],
    ['a mechanism that is no string', { ...valid, mechanism: ['gaussian'] }, /unknown mechanism/],
    ['another relation', { ...valid, neighbours: 'swap' }, /neighbours/],
    ['a field too many', { ...valid, sensitivity: 2 }, /unknown field/],
    ['no mechanism', { noiseMultiplier: 1, samplingRate: 1, neighbours: 'add-remove' }, /mechanism is missing/],
    ['no noise', { mechanism: 'gaussian', samplingRate: 1, neighbours: 'add-remove' }, /noiseMultiplier is missing/],
    ['no rate', { mechanism: 'gaussian', noiseMultiplier: 1, neighbours: 'add-remove' }, /samplingRate is missing/],
    ['no relation', { mechanism: 'gaussian', noiseMultiplier: 1, samplingRate: 1 }, /neighbours is missing/],
    ['zero noise', { ...valid, noiseMultiplier: 0 }, /noiseMultiplier/],
    ['negative noise', { ...valid, noiseMultiplier: -1 }, /noiseMultiplier/],
    ['infinite noise', { ...valid, noiseMultiplier: Number.POSITIVE_INFINITY }, /noiseMultiplier/],
    ['noise that is no number', { ...valid, noiseMultiplier: '1' }, /noiseMultiplier/],
    ['NaN noise', { ...valid, noiseMultiplier: Number.NaN }, /noiseMultiplier/],
    ['a rate above 1', { ...valid, samplingRate: 1.0001 }, /samplingRate/],
    ['a negative rate', { ...valid, samplingRate: -1e-9 }, /samplingRate/],
    ['a NaN rate', { ...valid, samplingRate: Number.NaN }, /samplingRate/],
  ])('refuses %s, naming the field', (_, event, message) => {
    expect(() => validateEvent(event)).toThrow(refusal(message))
  })

  test('says nothing of the values it refuses', () => {
    expect(() => validateEvent({ ...valid, noiseMultiplier: -123.456 })).toThrow(/^[^\d-]*above 0$/)
    expect(() => validateEvent({ ...valid, secret: 1 })).toThrow(/^[^\d]*unknown field$/)
  })
})

describe('constructors', () => {
  test('Gaussian and add-remove unless said otherwise', () => {
    expect(mechanismEvent({ noiseMultiplier: 1.1, samplingRate: 0.06 })).toEqual(valid)
    expect(gaussianEvent({ noiseMultiplier: 1.1, samplingRate: 0.06 })).toEqual(valid)
    expect(laplaceEvent({ noiseMultiplier: 2, samplingRate: 1, neighbours: 'zero-out' })).toEqual({
      mechanism: 'laplace',
      noiseMultiplier: 2,
      samplingRate: 1,
      neighbours: 'zero-out',
    })
  })

  test('take their parameters out of a larger object', () => {
    const stage = { noiseMultiplier: 1.1, samplingRate: 0.06, rounds: 9, mechanism: 'laplace' }
    expect(gaussianEvent(stage)).toEqual(valid)
  })
})

describe('canonicalEvent and parseEvent', () => {
  test.each([
    [valid, 'gaussian/add-remove/1.1/0.06'],
    [{ ...valid, mechanism: 'laplace' }, 'laplace/add-remove/1.1/0.06'],
    [{ ...valid, neighbours: 'zero-out', samplingRate: 1 }, 'gaussian/zero-out/1.1/1'],
    [{ ...valid, neighbours: 'replace-one', noiseMultiplier: 1e-7, samplingRate: 0 }, 'gaussian/replace-one/1e-7/0'],
  ] as const)('known answer: the key of %j is part of stored logs', (event, key) => {
    expect(canonicalEvent(event)).toBe(key)
    expect(parseEvent(key)).toEqual(event)
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

  test('property: keys are equal exactly when the events are, and parse back', () => {
    fc.assert(
      fc.property(events, events, (a, b) => {
        const positive = (event: MechanismEvent) => ({ ...event, samplingRate: event.samplingRate + 0 })
        expect(canonicalEvent(a) === canonicalEvent(b)).toBe(
          JSON.stringify(positive(a)) === JSON.stringify(positive(b)),
        )
        expect(parseEvent(canonicalEvent(a))).toEqual(positive(a))
        expect(canonicalEvent(parseEvent(canonicalEvent(a)))).toBe(canonicalEvent(a))
      }),
    )
  })

  test.each([
    '',
    'gaussian',
    'gaussian/add-remove/1.1',
    'gaussian/add-remove/1.1/0.06/1',
    'gaussian/add-remove/1.10/0.06',
    'gaussian/add-remove/1.1/.06',
    'gaussian/add-remove/01.1/0.06',
    'gaussian/add-remove/+1.1/0.06',
    'gaussian/add-remove/ 1.1/0.06',
    'gaussian/add-remove/1.1/0.06\n',
    'gaussian/add-remove/1.1e0/0.06',
    'gaussian/add-remove/0x1/0.06',
    'gaussian/add-remove/1.1/-0',
    'gaussian/add-remove/1.1/',
    'gaussian/add-remove//0.06',
    'gaussian/add-remove/Infinity/0.06',
    'gaussian/add-remove/NaN/0.06',
    'gaussian/add-remove/1.1/1.5',
    'Gaussian/add-remove/1.1/0.06',
    'gaussian/swap/1.1/0.06',
    'add-remove/gaussian/1.1/0.06',
  ])('parseEvent refuses %j', (text) => {
    expect(() => parseEvent(text)).toThrow(refusal(/^mechanism event: [a-z]/i))
  })
})

describe('histories', () => {
  const laplace = laplaceEvent({ noiseMultiplier: 2, samplingRate: 1 })
  const history: EventCount[] = [
    { event: laplace, count: 3 },
    { event: valid, count: 5 },
    { event: laplace, count: 1 },
    { event: { ...valid, noiseMultiplier: 9 }, count: 0 },
  ]

  test('known answers', () => {
    expect(canonicalHistory(history)).toBe('gaussian/add-remove/1.1/0.06*5;laplace/add-remove/2/1*4')
    expect(canonicalHistory([])).toBe('')
    expect(distinctEvents(history).map(({ count }) => count)).toEqual([5, 0, 4])
  })

  test('property: order and grouping do not matter', () => {
    fc.assert(
      fc.property(histories, histories, (first, second) => {
        const split = first.flatMap(({ event, count }) => [
          { event, count: count >> 1 },
          { event, count: count - (count >> 1) },
        ])
        expect(canonicalHistory([...second, ...split.reverse()])).toBe(canonicalHistory([...first, ...second]))
        expect(distinctEvents([...split, ...second])).toEqual(distinctEvents([...second, ...first]))
        const distinct = distinctEvents(first)
        expect(distinctEvents(distinct)).toEqual(distinct)
        expect(distinct.reduce((sum, { count }) => sum + count, 0)).toBe(
          first.reduce((sum, { count }) => sum + count, 0),
        )
      }),
    )
  })

  test('a sum that is no safe integer is refused', () => {
    const many = { event: valid, count: Number.MAX_SAFE_INTEGER }
    expect(canonicalHistory([many])).toBe('gaussian/add-remove/1.1/0.06*9007199254740991')
    const tooMany = [many, { event: valid, count: 1 }]
    for (const answer of [canonicalHistory, distinctEvents]) {
      expect(() => answer(tooMany)).toThrow(expect.objectContaining({ code: 'invalid_count' }))
    }
  })

  test('neighboursOf: the one relation, null without a release, a refusal for a mixture', () => {
    const replace = mechanismEvent({ noiseMultiplier: 1, samplingRate: 1, neighbours: 'replace-one' })
    expect(neighboursOf(history)).toBe('add-remove')
    expect(neighboursOf([{ event: replace, count: 2 }])).toBe('replace-one')
    expect(neighboursOf([])).toBeNull()
    expect(neighboursOf([{ event: replace, count: 0 }])).toBeNull()
    expect(neighboursOf([...history, { event: replace, count: 0 }])).toBe('add-remove')
    for (const neighbours of ['replace-one', 'zero-out'] as const) {
      const other = mechanismEvent({ noiseMultiplier: 1, samplingRate: 1, neighbours })
      expect(() => neighboursOf([...history, { event: other, count: 1 }])).toThrow(
        expect.objectContaining({ code: 'mixed_neighbours' }),
      )
    }
  })
})

test.each([-1, 0.5, 2 ** 53, Number.NaN])('validateCount refuses %s', (count) => {
  expect(() => validateCount(count)).toThrow(expect.objectContaining({ code: 'invalid_count' }))
})
