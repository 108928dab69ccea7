import { secretRandom } from '../../demo/simulate.ts'
import { calibrateNoise, gaussianEvent, poissonSample, rdpCurve, roundedNormals } from '../../shared/privacy/index.ts'
import { median } from './median.ts'

const REPEATS = 7

/** Seconds of one call, the median of several. */
function secondsOf(action: (repeat: number) => void): number {
  action(-1)
  return median(
    Array.from({ length: REPEATS }, (_, repeat) => {
      const started = performance.now()
      action(repeat)
      return (performance.now() - started) / 1000
    }),
  )
}

/** Speed of the privacy core. */
export async function privacy(): Promise<void> {
  const draws = 20_000
  const units = 100_000
  const rows: [string, string][] = [
    [
      'exact rounded normals a second',
      (draws / secondsOf(() => roundedNormals({ count: draws, deviation: 1.5e6 }, secretRandom))).toFixed(0),
    ],
    [
      'units Poisson-sampled a second, q 0.06',
      (units / secondsOf(() => poissonSample(units, 0.06, secretRandom))).toFixed(0),
    ],
    // Another noise multiplier each time, so that no cache answers.
    [
      'RDP curves a second, not cached',
      (1 / secondsOf((i) => rdpCurve(gaussianEvent({ noiseMultiplier: 1.3 + i / 97, samplingRate: 0.06 })))).toFixed(0),
    ],
    [
      'calibrations a second, 300 rounds',
      (
        1 /
        secondsOf((i) =>
          calibrateNoise({ targetEpsilon: 4 + i / 97, delta: 1e-5, stages: [{ samplingRate: 0.06, rounds: 300 }] }),
        )
      ).toFixed(0),
    ],
  ]
  for (const [name, value] of rows) console.log(`| ${name} | ${value} |`)
}
