import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { composeRelease } from '../../gpu-worker/release.ts'
import { openSite } from '../../gpu-worker/site.ts'
import { initialState, type Stage } from '../../shared/zo/index.ts'
import { twoSites } from '../rehearsal/theatre.ts'

const stage: Stage = {
  ...{ rounds: 1, learningRate: 0.1, radius: 0.5, directions: 8, clip: 1, grid: 2 ** -20 },
  ...{ noiseMultiplier: 1, samplingRate: 1, prox: 0, lossShare: 0, lossBound: 2 },
}

describe('two processes of one worker', () => {
  it('have not the folder both', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-twice-'))
    const site = openSite(folder)
    expect(() => openSite(folder)).toThrow(expect.objectContaining({ code: 'state_locked' }))
    site.close()
    openSite(folder).close()
    rmSync(folder, { recursive: true })
  })

  it('that have a folder each, and one identity, are not both heard', async () => {
    const { theatre, north } = await twoSites()
    await theatre.begin()
    const lease = (await theatre.run.takeLease(north))!
    expect((await theatre.run.takeLease(north))!.id, 'both hold the same lease').toBe(lease.id)
    const [one, two] = [await theatre.reportFor(north, lease), await theatre.reportFor(north, lease, 1)]
    await theatre.run.report(north, lease.id, one)
    await expect(theatre.run.report(north, lease.id, two)).rejects.toMatchObject({ code: 'report_conflict' })
    await theatre.run.report(north, lease.id, one)
  })

  it('never hide two values by the same noise: their difference has that of both', async () => {
    const release = (loss: number) =>
      composeRelease({
        method: { clipping: 'joint', noise: 'gaussian', sides: 'two' },
        stage,
        round: 0,
        state: initialState(1),
        units: [[0]],
        oracle: {
          losses: async (lines, { directions }) =>
            Float32Array.from(lines.flatMap(() => Array.from({ length: directions }, () => [loss, 0]).flat())),
        },
        random: (length) => randomFillSync(new Uint8Array(length)),
      })
    const differences: number[] = []
    for (let i = 0; i < 400; i++) {
      const [one, two] = [await release(0), await release(1e-3)]
      differences.push(...one.map((value, k) => value - two[k]!))
    }
    const deviation = Math.sqrt(differences.reduce((sum, d) => sum + d * d, 0) / differences.length)
    // Sensitivity 1 on the grid, noise of both: sqrt(2) deviations, within six standard errors of 3,200 draws.
    expect(deviation / 2 ** 20 / Math.SQRT2).toBeGreaterThan(0.92)
    expect(deviation / 2 ** 20 / Math.SQRT2).toBeLessThan(1.08)
  })
})
