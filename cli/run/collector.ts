/** A collector of OpenTelemetry, spoken to by OTLP over HTTP in protocol buffers, by OpenTelemetry's own exporter. */
import { convertLegacyHttpOptions, createOtlpHttpExportDelegate } from '@opentelemetry/otlp-exporter-base/node-http'
import {
  type IExportMetricsPartialSuccess,
  type IExportMetricsServiceResponse,
  type ISerializer,
  MetricsExporterMetricsHelper,
  ProtobufMetricsSerializer,
} from '@opentelemetry/otlp-transformer'
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { Run } from '../../shared/api/index.ts'
import { InputError, RunError, UnreachableError } from '../failure.ts'
import type { Measurement } from './measured.ts'
import { resourceMetricsOf } from './points.ts'

export interface Collector {
  /** Where points go, without what may be secret in an address. */
  readonly url: string
  /** @returns names of the metrics @throws RunError where it refuses, UnreachableError where it may take them later */
  send(run: Run, measurements: readonly Measurement[]): Promise<string[]>
}

const PATH = 'v1/metrics'
const HEADERS = { 'Content-Type': 'application/x-protobuf' }
/** What the exporter calls itself in measurements of itself, which nobody takes here. */
const KIND = 'otlp_http_metric_exporter'

/** @param address as `OTEL_EXPORTER_OTLP_ENDPOINT` has it: without the path of a signal @throws InputError */
export function openCollector(address: string): Collector {
  const url = URL.parse(address)
  if (!url || !/^https?:$/.test(url.protocol))
    throw new InputError(`${address} is no address of a collector: --otlp URL`)
  if (!url.pathname.endsWith(`/${PATH}`)) url.pathname = `${url.pathname.replace(/\/$/, '')}/${PATH}`
  // Headers, timeout, compression and certificates are those of the OTEL_EXPORTER_OTLP_ variables.
  const options = convertLegacyHttpOptions({ url: url.href }, 'METRICS', PATH, HEADERS)
  const serializer = new Answered()
  const exporter = createOtlpHttpExportDelegate(options, serializer, KIND, MetricsExporterMetricsHelper, undefined)
  const place = `${url.origin}${url.pathname}`
  return {
    url: place,
    send: async (run, measurements) => {
      const metrics = resourceMetricsOf(run, measurements)
      const { error } = await new Promise<{ error?: Error }>((resolve) => exporter.export(metrics, resolve))
      if (error) throw failureOf(error, place)
      const { rejectedDataPoints = 0, errorMessage = '' } = serializer.taken() ?? {}
      if (Number(rejectedDataPoints) > 0)
        throw refused(`the collector at ${place} did not take ${rejectedDataPoints} points: ${errorMessage}`)
      return metrics.scopeMetrics.flatMap((each) => each.metrics.map(({ descriptor }) => descriptor.name))
    },
  }
}

/** The exporter drops what a collector says of points that it did not take; it is kept here. */
class Answered implements ISerializer<ResourceMetrics, IExportMetricsServiceResponse> {
  #partial: IExportMetricsPartialSuccess | undefined
  serializeRequest(metrics: ResourceMetrics): Uint8Array | undefined {
    return ProtobufMetricsSerializer.serializeRequest(metrics)
  }
  deserializeResponse(data: Uint8Array): IExportMetricsServiceResponse {
    const response = ProtobufMetricsSerializer.deserializeResponse(data)
    this.#partial = response.partialSuccess
    return response
  }
  taken(): IExportMetricsPartialSuccess | undefined {
    const partial = this.#partial
    this.#partial = undefined
    return partial
  }
}

const refused = (message: string): RunError => new RunError(message, 'collector_refused')

const HINTS: Readonly<Record<number, string>> = {
  401: 'set OTEL_EXPORTER_OTLP_HEADERS to what it knows you by, such as "Authorization=Bearer%20TOKEN"',
  403: 'set OTEL_EXPORTER_OTLP_HEADERS to what it lets you in by, such as "Authorization=Bearer%20TOKEN"',
  404: 'name its port for OTLP over HTTP, which is 4318 as a rule',
  405: 'name its port for OTLP over HTTP, which is 4318 as a rule',
}

const AGAIN = 'Nothing is lost: the coordinator keeps the numbers, and the same command sends all of them'

/** What became of a request: refused for good, or not taken yet. */
function failureOf(error: Error & { code?: number | string }, place: string): Error {
  const { code } = error
  if (typeof code === 'number') {
    const hint = HINTS[code] ?? 'its log says why'
    return refused(`the collector at ${place} refused the metrics (${code} ${error.message}): ${hint}`)
  }
  if (code !== undefined)
    return new UnreachableError(
      `the collector at ${place} can not be reached (${code}): start it, or name another by --otlp. ${AGAIN}`,
    )
  return new UnreachableError(`the collector at ${place} is too busy or takes too long: try later. ${AGAIN}`)
}
