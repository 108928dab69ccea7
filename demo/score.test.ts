import { describe, expect, it } from 'vitest'
import { score } from './score.ts'

const naive = (margins: number[], labels: string[]) => {
  let wins = 0
  let pairs = 0
  for (const [i, a] of margins.entries()) {
    for (const [j, b] of margins.entries()) {
      if (labels[i] !== 'spam' || labels[j] === 'spam') continue
      pairs++
      wins += a > b ? 1 : a === b ? 0.5 : 0
    }
  }
  return wins / pairs
}

describe('score', () => {
  it('equals the count over all pairs, ties included', () => {
    const margins = [3, -1, 0, 0, 2, 0, -5, 1, 1, -1]
    const labels = ['spam', 'ham', 'spam', 'ham', 'ham', 'spam', 'ham', 'spam', 'ham', 'spam']
    expect(score(margins, labels).auc).toBeCloseTo(naive(margins, labels), 12)
    expect(score(margins, labels).accuracy).toBe(0.5)
  })

  it('is 1 for a perfect order and 0 for the reverse', () => {
    const labels = ['ham', 'ham', 'spam', 'spam']
    expect(score([-2, -1, 1, 2], labels)).toEqual({ accuracy: 1, auc: 1 })
    expect(score([2, 1, -1, -2], labels)).toEqual({ accuracy: 0, auc: 0 })
  })
})
