import { useMemo } from 'preact/hooks'
import type { Curves, Run } from '../../../shared/api/index.ts'
import { Chart, type Line } from './chart.tsx'
import { percent } from './figures.ts'
import { lossBand, runningMean, WINDOW } from './smoothing.ts'

/** Values of each round, and their running mean. */
const smoothed = (values: readonly (number | null)[], colour: number): Line[] => [
  { label: 'each round', values, colour, look: 'faint' },
  { label: `mean of ${WINDOW}`, values: runningMean(values), colour },
]

/** What a run released, round by round, and what its model says of public data. */
export function RoundCharts({ run, curves }: { run: Run; curves: Curves }) {
  const x = useMemo(() => curves.closed.map((_, i) => i), [curves])
  const loss = useMemo(() => {
    const { mean, low, high } = lossBand(curves)
    return [
      { label: 'noised, each round', values: curves.privateLoss, colour: 1, look: 'faint' },
      { label: '95 % above', values: high, colour: 1, look: 'edge', fillsTo: 2 },
      { label: '95 % below', values: low, colour: 1, look: 'edge' },
      { label: `mean of ${WINDOW}`, values: mean, colour: 1 },
    ] as const
  }, [curves])
  const signal = useMemo(() => smoothed(curves.signalToNoise, 2), [curves])
  const clipped = useMemo(() => smoothed(curves.clippedShare, 4), [curves])
  const has = (values: readonly (number | null)[]) => values.some((value) => value !== null)
  return (
    <div class="charts">
      {has(curves.privateLoss) ? (
        <Chart
          title="Private loss, in nats; the band is what its noise may have added"
          along="round"
          x={x}
          lines={loss}
          group="rounds"
        />
      ) : null}
      <Evaluations curves={curves} />
      <Chart title="Signal to noise of what was released" along="round" x={x} lines={signal} group="rounds" />
      {has(curves.clippedShare) ? (
        <Chart
          title="Share of clipped units, noised"
          along="round"
          x={x}
          lines={clipped}
          format={(value) => percent(value)}
          group="rounds"
        />
      ) : null}
      {run.job === 'statistic' ? <p class="soft">A statistic is one round; it trains nothing.</p> : null}
    </div>
  )
}

function Evaluations({ curves: { evaluations } }: { curves: Curves }) {
  const x = useMemo(() => evaluations.map(({ round }) => round), [evaluations])
  const hasLabels = evaluations.some(({ correct }) => correct !== null)
  const lines = useMemo(
    () => [
      hasLabels
        ? {
            label: 'correct',
            values: evaluations.map(({ correct, records }) =>
              correct === null || records === 0 ? null : correct / records,
            ),
            colour: 3,
          }
        : { label: 'loss', values: evaluations.map(({ loss }) => (loss === null ? null : loss / 1e6)), colour: 3 },
    ],
    [evaluations, hasLabels],
  )
  if (evaluations.length === 0) return null
  return (
    <Chart
      title={hasLabels ? 'Share of public records whose label the model finds' : 'Loss on public data, in nats'}
      along="closed rounds"
      x={x}
      lines={lines}
      {...(hasLabels ? { format: (value: number) => percent(value) } : {})}
    />
  )
}
