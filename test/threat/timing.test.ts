import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { onBeat, waitFor } from '../../gpu-worker/pace.ts'
import { Stage } from '../e2e/harness.ts'

const BEAT_MS = 400

describe('the time of a report', () => {
  it('is that of the beat, whatever the work took', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: BEAT_MS, noNaN: true }), (elapsed) => {
        expect(elapsed + waitFor(elapsed, BEAT_MS)).toBeCloseTo(BEAT_MS, 9)
      }),
      { numRuns: 10_000 },
    )
    expect(waitFor(2.5 * BEAT_MS, BEAT_MS)).toBe(BEAT_MS / 2)
  })

  it('is held back no longer where the worker is told to stop', async () => {
    const stop = new AbortController()
    const held = onBeat(0, 60_000, { now: () => 1, signal: stop.signal })
    stop.abort()
    await expect(held).rejects.toMatchObject({ name: 'AbortError' })
    await onBeat(0, 0, { now: () => 1, signal: new AbortController().signal })
  })

  describe('of real processes', () => {
    const stage = new Stage()
    beforeAll(async () => {
      await stage.startCoordinator()
      await stage.addSite('north')
    })
    afterAll(() => stage.close())

    it('is a whole number of beats after its lease, as the coordinator sees it', async () => {
      stage.startWorker('north', { args: ['--beat', String(BEAT_MS / 1000)] })
      const { id } = await stage.submit({ rounds: 5, directions: 3, datasets: ['north'] })
      expect(await stage.finish(id)).toMatchObject({ state: 'completed' })
      const headers = { Authorization: `Bearer ${stage.adminToken}` }
      const answer = await fetch(`${stage.url}/v1/runs/${id}/reports`, { headers })
      const { items } = (await answer.json()) as { items: { taken: number; received: number }[] }
      expect(items).toHaveLength(5)
      // The first loads the model; each of the others takes one beat, and the way there and back.
      for (const { taken, received } of items.slice(0, -1)) {
        expect(received - taken).toBeGreaterThanOrEqual(BEAT_MS - 20)
        expect((received - taken) % BEAT_MS).toBeLessThan(BEAT_MS / 2)
      }
    })
  })
})
