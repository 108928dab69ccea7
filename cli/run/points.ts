/** Measurements of a run as OpenTelemetry has them: every point at the time of its event, not of its sending. */
import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  DataPointType,
  type GaugeMetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics'
import manifest from '../../package.json' with { type: 'json' }
import type { Run } from '../../shared/api/index.ts'
import type { Measured, Measurement } from './measured.ts'

const gauge = (name: string, description: string) => ({ name, description, unit: '1', valueType: ValueType.DOUBLE })

export const DESCRIPTORS = {
  private_loss: gauge('sotto.run.private_loss', 'Mean loss over the datasets, as it was released: with noise.'),
  clipped_share: gauge('sotto.run.clipped_share', 'Share of units that were clipped, as it was released: with noise.'),
  signal_to_noise: gauge('sotto.run.signal_to_noise', 'Power of the signal over that of the noise in a release.'),
  epsilon: gauge('sotto.run.epsilon', 'Epsilon that the run has spent of a dataset: an upper bound.'),
  public_loss: gauge('sotto.evaluation.loss', 'Mean loss on public data, in nats.'),
  public_accuracy: gauge('sotto.evaluation.accuracy', 'Share of the public records that are right.'),
} as const satisfies Record<Measured, GaugeMetricData['descriptor']>

const hrTime = (ms: number): HrTime => [Math.floor(ms / 1000), (ms % 1000) * 1_000_000]

const attributesOf = ({ round, dataset }: Measurement): Attributes => ({
  'sotto.round': round,
  ...(dataset === undefined ? {} : { 'sotto.dataset.id': dataset }),
})

/** The instance is the run: backends that keep but name and instance of a resource tell runs apart by it. */
const resourceOf = ({ id, job, spec }: Run) =>
  resourceFromAttributes({
    'service.name': 'sotto',
    'service.version': manifest.version,
    'service.instance.id': id,
    'sotto.run.id': id,
    'sotto.run.job': job,
    'sotto.model.id': spec.model,
    'sotto.budget.epsilon': spec.budget.epsilon,
    'sotto.budget.delta': spec.budget.delta,
  })

export function resourceMetricsOf(run: Run, measurements: readonly Measurement[]): ResourceMetrics {
  const startTime = hrTime(run.created)
  const byName = Map.groupBy(measurements, ({ name }) => name)
  const metrics = [...byName].map(
    ([name, all]): GaugeMetricData => ({
      descriptor: DESCRIPTORS[name],
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPointType: DataPointType.GAUGE,
      dataPoints: all.map((each) => ({
        startTime,
        endTime: hrTime(each.time),
        attributes: attributesOf(each),
        value: each.value,
      })),
    }),
  )
  const scope = { name: 'sotto', version: manifest.version }
  return { resource: resourceOf(run), scopeMetrics: [{ scope, metrics }] }
}
