/** The accountant against the definition: few enough releases that composition can be integrated outright. */
import { describe, expect, test } from 'vitest'
import { deltaBounds, type EventCount, epsilonBounds, mechanismEvent } from '../../shared/privacy/index.ts'
import { naiveDelta, type Release } from './quadrature.ts'
import { SETTINGS, type Setting } from './settings.ts'

/** Relative error allowed to the reference: ten times what it shows against twice the nodes. */
const REFERENCE = 1e-12
/** How near the accountant must come to the reference where it is asked to: absolute for delta, relative for epsilon. */
const AGREEMENT = 1e-9

const historyOf = (releases: readonly Release[]): EventCount[] =>
  releases.map((release) => ({ event: mechanismEvent({ ...release }), count: 1 }))

const title = ({ releases, epsilon }: Setting) => {
  const stages = releases.map((one) => `${one.mechanism} ${one.noiseMultiplier}/${one.samplingRate}`)
  return `${stages.join(' + ')}, ${releases[0]!.neighbours}, epsilon ${epsilon}`
}

/** One lattice holds the point masses of one Laplace stage only: with several, lower bounds are of first order in its step. */
const offLattice = (releases: readonly Release[]) =>
  new Set(releases.filter(({ mechanism }) => mechanism === 'laplace').map((one) => JSON.stringify(one))).size > 1

const CASES = SETTINGS.map((setting) => ({
  ...setting,
  title: title(setting),
  history: historyOf(setting.releases),
  delta: naiveDelta(setting.releases, setting.epsilon),
}))

describe.each(CASES)('$title', ({ releases, epsilon, history, delta }) => {
  // Asked for a little less than the agreement, as a share of delta; 5e-9 is where rounding takes over.
  const wanted = Math.min(1e-3, Math.max(5e-9, (0.8 * AGREEMENT) / delta))

  const certifiedDelta = (tolerance: number) => {
    const bounds = deltaBounds(history, epsilon, { tolerance })
    expect(bounds.lower).toBeLessThanOrEqual(delta * (1 + REFERENCE))
    expect(bounds.delta).toBeGreaterThanOrEqual(delta * (1 - REFERENCE))
    return bounds
  }
  const certifiedEpsilon = (tolerance: number) => {
    const bounds = epsilonBounds(history, delta, { tolerance })
    expect(bounds.lower).toBeLessThanOrEqual(epsilon * (1 + REFERENCE))
    expect(bounds.epsilon).toBeGreaterThanOrEqual(epsilon * (1 - REFERENCE))
    return bounds
  }

  test('both lie in the certified intervals of the usual width', () => {
    certifiedDelta(1e-3)
    certifiedEpsilon(1e-3)
  })

  test('delta lies in a narrow interval and agrees to 1e-9', () => {
    const bounds = certifiedDelta(wanted)
    expect(bounds.delta - delta).toBeLessThanOrEqual(AGREEMENT)
    expect(delta - bounds.lower).toBeLessThanOrEqual(offLattice(releases) ? 1000 * AGREEMENT : AGREEMENT)
  })

  test('epsilon lies in a narrow interval and agrees to 1e-6, for one release to 1e-9', () => {
    const bounds = certifiedEpsilon(1e-7)
    const agreement = releases.length === 1 ? AGREEMENT : 1e-6
    expect(bounds.epsilon / epsilon - 1).toBeLessThanOrEqual(agreement)
    expect(1 - bounds.lower / epsilon).toBeLessThanOrEqual(offLattice(releases) ? 3e-5 : agreement)
  })
})

test('three sampled releases: epsilon agrees to 1e-9 on the finest grid', () => {
  const finest = CASES.find(({ releases }) => releases.length === 3 && releases[0]!.samplingRate === 0.5)!
  const bounds = epsilonBounds(finest.history, finest.delta, { tolerance: 1e-9 })
  expect(Math.abs(bounds.epsilon / finest.epsilon - 1)).toBeLessThanOrEqual(AGREEMENT)
  expect(Math.abs(bounds.lower / finest.epsilon - 1)).toBeLessThanOrEqual(AGREEMENT)
})
