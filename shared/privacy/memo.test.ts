import { expect, test } from 'vitest'
import { memo } from './memo.ts'

test('makes each answer once, and forgets the oldest first', () => {
  const remember = memo<number>(2)
  let made = 0
  const ask = (key: string) => remember(key, () => ++made)
  expect([ask('a'), ask('b'), ask('a'), ask('b')]).toEqual([1, 2, 1, 2])
  expect([ask('c'), ask('b'), ask('a')]).toEqual([3, 2, 4])
})
