import { secretRandom } from '../../demo/simulate.ts'
import {
  calibrateNoise,
  deltaBounds,
  type EventCount,
  epsilonBounds,
  gaussianEvent,
  mechanismEvent,
  poissonSample,
  RdpFilter,
  rdpCurve,
  roundedNormals,
  spend,
} from '../../shared/privacy/index.ts'
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

const of = (noiseMultiplier: number, samplingRate: number, count: number): EventCount => ({
  event: gaussianEvent({ noiseMultiplier, samplingRate }),
  count,
})

/** Compositions to account for; `i` changes the noise a little, so that no cache answers. */
const SCHEDULES: readonly (readonly [name: string, at: (i: number) => EventCount[]])[] = [
  ['one stage, sigma 1, q 0.01, 10,000 rounds', (i) => [of(1 + i / 9973, 0.01, 10_000)]],
  ['one stage, sigma 0.7, q 0.001, 10,000 rounds', (i) => [of(0.7 + i / 9973, 0.001, 10_000)]],
  [
    'three stages of 10,000 rounds together',
    (i) => [of(1 + i / 9973, 0.01, 3000), of(0.8 + i / 9973, 0.02, 2000), of(2 + i / 9973, 0.05, 5000)],
  ],
  [
    'fifty distinct stages of 200 rounds',
    (i) => Array.from({ length: 50 }, (_, k) => of(0.8 + k / 40 + i / 9973, 0.005 + k / 2000, 200)),
  ],
  [
    'Laplace, scale 2, q 0.05, 5,000 rounds',
    (i) => [
      {
        event: mechanismEvent({ mechanism: 'laplace', noiseMultiplier: 2 + i / 9973, samplingRate: 0.05 }),
        count: 5000,
      },
    ],
  ],
  [
    'replacing a unit, sigma 2, q 0.01, 10,000 rounds',
    (i) => [
      {
        event: gaussianEvent({ noiseMultiplier: 2 + i / 9973, samplingRate: 0.01, neighbours: 'replace-one' }),
        count: 10_000,
      },
    ],
  ],
]

/** Milliseconds of certified intervals, how wide they are, and how far Renyi divergences lie above. */
function accountant(): void {
  console.log('| composition, delta 1e-5 | ms | epsilon | width of the interval | RDP above it |')
  for (const [name, at] of SCHEDULES) {
    const seconds = secondsOf((i) => epsilonBounds(at(i), 1e-5))
    const { epsilon, lower } = epsilonBounds(at(0), 1e-5)
    const percent = (ratio: number) => `${(100 * ratio).toFixed(2)} %`
    const rdp = spend(at(0), 1e-5).epsilon
    console.log(
      `| ${name} | ${(1000 * seconds).toFixed(1)} | ${epsilon.toFixed(4)} | ${percent((epsilon - lower) / epsilon)} | ${percent(rdp / epsilon - 1)} |`,
    )
  }
  const schedule = SCHEDULES[2]![1]
  const filter = new RdpFilter({ epsilon: 1000, delta: 1e-5 }, schedule(0))
  const next = of(1, 0.01, 1)
  const questions = 10_000
  const ask = () => {
    for (let i = 0; i < questions; i++) filter.canSpend(next)
  }
  console.log(`| one filter decision, warm, microseconds | ${((1e6 * secondsOf(ask)) / questions).toFixed(2)} |`)
  console.log(
    `| delta at epsilon 5, three stages, ms | ${(1000 * secondsOf((i) => deltaBounds(schedule(i), 5))).toFixed(1)} |`,
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
  accountant()
}
