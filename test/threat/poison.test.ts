import { describe, expect, it } from 'vitest'
import { resolvedSpec } from '../../shared/ledger/index.ts'
import { coefficients, replay, replayStart, stageOf, stateHash } from '../../shared/zo/index.ts'
import { finishedRun } from '../rehearsal/theatre.ts'

describe('an update', () => {
  it('is a function of the seed and the integers in the log, which anybody can repeat', async () => {
    const theatre = await finishedRun()
    const { records } = theatre.log()
    const [first] = records
    if (first?.type !== 'spec') throw new Error('no spec')
    const closes = records.filter((record) => record.type === 'close')
    for (const { round, reports, coefficients: told } of closes) {
      const { stage } = stageOf(first.spec.stages, round)
      const released = reports.map(({ integers }) => ({ integers, units: 1000 }))
      expect(coefficients(released, stage)).toEqual(told)
    }
    const { state } = replay(resolvedSpec(first.spec, records), closes)
    expect(stateHash(state)).toBe((await theatre.run.describe())!.stateHash)
  })

  it('moves each coordinate by no more than the learning rate times the coefficients', async () => {
    const theatre = await finishedRun()
    const { records } = theatre.log()
    const [first] = records
    if (first?.type !== 'spec') throw new Error('no spec')
    const spec = resolvedSpec(first.spec, records)
    let point = replayStart(spec)
    for (const close of records.filter((record) => record.type === 'close')) {
      const before = point.state.current
      const { index, stage } = stageOf(spec.stages, close.round)
      point = replay(spec, [close], point)
      // Directions are of plus and minus one; the pull to where the stage began comes on top, in later stages.
      if (index > 0 || point.state.current.length !== before.length) continue
      const most = stage.learningRate * close.coefficients.reduce((sum, c) => sum + Math.abs(c), 0)
      const moved = Math.max(...point.state.current.map((value, i) => Math.abs(value - before[i]!)))
      expect(moved).toBeLessThanOrEqual(most * (1 + 1e-5))
      expect(moved).toBeGreaterThan(0)
    }
  })
})
