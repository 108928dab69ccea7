import { describe, expect, it } from 'vitest'
import { serialQueue } from '../storage/index.ts'
import { Bell } from './bell.ts'

describe('the bell', () => {
  it('wakes those who wait, and is not missed by those who looked before', async () => {
    const bell = new Bell()
    const mark = bell.mark('a')
    const waiting = bell.wait('a', { mark, ms: 60_000 })
    bell.ring('b')
    bell.ring('a')
    await waiting
    await bell.wait('a', { mark, ms: 60_000 })
  })

  it('ends a wait by time, by signal and for good', async () => {
    const bell = new Bell()
    await bell.wait('a', { mark: 0, ms: 5 })
    const stop = new AbortController()
    const aborted = bell.wait('a', { mark: 0, ms: 60_000, signal: stop.signal })
    stop.abort()
    await aborted
    const closed = bell.wait('a', { mark: 0, ms: 60_000 })
    bell.close()
    await closed
    await bell.wait('a', { mark: 0, ms: 60_000 })
  })
})

describe('the queue', () => {
  it('runs one task at a time, in order, whatever fails', async () => {
    const enqueue = serialQueue()
    const seen: string[] = []
    const task = (name: string, fails = false) =>
      enqueue(async () => {
        seen.push(`${name} begins`)
        await new Promise((resolve) => setTimeout(resolve, 2))
        seen.push(`${name} ends`)
        if (fails) throw new Error(name)
        return name
      })
    const [first, second, third] = await Promise.allSettled([task('a'), task('b', true), task('c')])
    expect([first?.status, second?.status, third?.status]).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(seen).toEqual(['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]))
  })
})
