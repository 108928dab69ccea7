import { describe, expect, it } from 'vitest'
import { expandPreset } from '../../../shared/zo/index.ts'
import { isEngineMethod, METHOD_NAMES, presetOf, roundsOf, SAMPLING_RATE } from './methods.ts'
import { PASSES, PASSES_OF_GRADIENT, passesOf, passesOfRound, roundsFor } from './passes.ts'
import { GRID, tunedOf } from './settings.ts'

const settingFor = (name: (typeof METHOD_NAMES)[number]) => ({ learningRate: 1, ...GRID[tunedOf(name)!].fixed })

describe('forward passes', () => {
  it('counts both sides of each direction, or the center once', () => {
    expect(passesOfRound(16, 'two')).toBe(32)
    expect(passesOfRound(16, 'one')).toBe(17)
  })

  it.each(METHOD_NAMES.filter(isEngineMethod))('gives %s as many as all others, within one round', (name) => {
    const { stages } = expandPreset(presetOf(name, settingFor(name)))
    const each = SAMPLING_RATE * passesOfRound(stages[0]!.directions, 'two')
    expect(Math.abs(passesOf(stages) - PASSES)).toBeLessThanOrEqual(each / 2)
  })

  it('counts a gradient as three', () => {
    const passes = roundsOf('dp-sgd', settingFor('dp-sgd')) * SAMPLING_RATE * PASSES_OF_GRADIENT
    expect(Math.abs(passes - PASSES)).toBeLessThan(PASSES_OF_GRADIENT * SAMPLING_RATE)
  })

  it('refuses a round that has more than the whole run', () => {
    expect(() => roundsFor({ samplingRate: 1, passesEach: 1000 })).toThrow(RangeError)
  })
})
