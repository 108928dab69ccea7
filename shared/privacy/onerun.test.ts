import { describe, expect, test } from 'vitest'
import { chanceOfGuesses, oneRunLowerBound } from './onerun.ts'

/** The same in plain floating point, with factorials. */
function plainTail(n: number, v: number, epsilon: number): number {
  const p = Math.exp(epsilon) / (1 + Math.exp(epsilon))
  const logFactorial = (k: number) => Array.from({ length: k }, (_, i) => Math.log(i + 1)).reduce((a, b) => a + b, 0)
  let tail = 0
  for (let k = v; k <= n; k++)
    tail += Math.exp(
      logFactorial(n) - logFactorial(k) - logFactorial(n - k) + k * Math.log(p) + (n - k) * Math.log(1 - p),
    )
  return tail
}

describe('a one-run audit', () => {
  test.each([
    [10, 10, 0],
    [100, 63, 0.5],
    [1000, 900, 2],
    [64, 0, 1],
  ])('%i guesses, %i right: the chance at epsilon %d is a binomial tail', (guesses, correct, epsilon) => {
    const chance = chanceOfGuesses({ canaries: guesses, guesses, correct, delta: 0 }, epsilon)
    expect(chance).toBeCloseTo(Math.min(1, plainTail(guesses, correct, epsilon)), 9)
  })

  test('all of ten right refute what makes 2^-10 at 95 %', () => {
    const bound = oneRunLowerBound({ canaries: 10, guesses: 10, correct: 10, delta: 0 }, 0.95)
    // p^10 = 0.05.
    const p = 0.05 ** 0.1
    expect(bound).toBeCloseTo(Math.log(p / (1 - p)), 9)
  })

  test('grows with right guesses, and falls with delta and with confidence', () => {
    const bound = (correct: number, delta = 1e-5, confidence = 0.95) =>
      oneRunLowerBound({ canaries: 1000, guesses: 400, correct, delta }, confidence)
    expect(bound(200)).toBe(0)
    expect(bound(390)).toBeGreaterThan(bound(350))
    expect(bound(390, 1e-3)).toBeLessThan(bound(390))
    expect(bound(390, 1e-5, 0.99)).toBeLessThan(bound(390))
  })

  test('is a published value: 1000 canaries, all guessed right, at delta 1e-5', () => {
    // Even a perfect attack can not show more than this many canaries and delta let it.
    const bound = oneRunLowerBound({ canaries: 1000, guesses: 1000, correct: 1000, delta: 1e-5 }, 0.95)
    expect(bound).toBeGreaterThan(4)
    expect(bound).toBeLessThan(6)
  })

  test('randomised response of epsilon is refuted at epsilon no oftener than it may be', () => {
    const [epsilon, m] = [1, 200]
    const p = Math.exp(epsilon) / (1 + Math.exp(epsilon))
    let state = 1
    const uniform = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return state / 2 ** 32
    }
    let above = 0
    const worlds = 2000
    for (let i = 0; i < worlds; i++) {
      const correct = Array.from({ length: m }, () => uniform() < p).filter(Boolean).length
      if (oneRunLowerBound({ canaries: m, guesses: m, correct, delta: 0 }, 0.95) > epsilon) above++
    }
    // 5 % at most, and near it: the bound wastes nothing.
    expect(above / worlds).toBeLessThan(0.05 + 4 * Math.sqrt((0.05 * 0.95) / worlds))
    expect(above / worlds).toBeGreaterThan(0.01)
  })

  test.each([
    [{ canaries: 10, guesses: 11, correct: 1, delta: 0 }],
    [{ canaries: 10, guesses: 5, correct: 6, delta: 0 }],
    [{ canaries: 0, guesses: 0, correct: 0, delta: 0 }],
    [{ canaries: 10, guesses: 5, correct: 2.5, delta: 0 }],
    [{ canaries: 10, guesses: 5, correct: 2, delta: 1 }],
  ])('refuses %o', (run) => {
    expect(() => chanceOfGuesses(run, 1)).toThrow()
    expect(() => chanceOfGuesses({ canaries: 1, guesses: 1, correct: 1, delta: 0 }, -1)).toThrow()
  })
})
