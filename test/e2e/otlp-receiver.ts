import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { create, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'

const DESCRIPTORS = new URL('../vectors/otlp-metrics.binpb', import.meta.url)
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(DESCRIPTORS)))
const SERVICE = 'opentelemetry.proto.collector.metrics.v1'
const REQUEST = registry.getMessage(`${SERVICE}.ExportMetricsServiceRequest`)!
const RESPONSE = registry.getMessage(`${SERVICE}.ExportMetricsServiceResponse`)!
const PARTIAL = registry.getMessage(`${SERVICE}.ExportMetricsPartialSuccess`)!

interface Of<Case extends string, Value> {
  readonly case: Case
  readonly value: Value
}
type Attributes = {
  key: string
  value: { value: Of<'stringValue', string> | Of<'doubleValue', number> | Of<'intValue', bigint> }
}[]
interface Request {
  resourceMetrics: {
    resource: { attributes: Attributes }
    scopeMetrics: { metrics: { name: string; unit: string; data: Of<'gauge', Gauge> }[] }[]
  }[]
}
interface Gauge {
  dataPoints: { timeUnixNano: bigint; value: Of<'asDouble', number>; attributes: Attributes }[]
}

/** A point with everything that stands around it. */
export interface Point {
  readonly name: string
  readonly unit: string
  readonly value: number
  readonly nanoseconds: bigint
  readonly attributes: Record<string, string | number>
  readonly resource: Record<string, string | number>
}

const plain = (attributes: Attributes) =>
  Object.fromEntries(
    attributes.map(({ key, value: { value } }) => [key, value.case === 'intValue' ? Number(value.value) : value.value]),
  )

function pointsIn(body: Uint8Array): Point[] {
  const request = fromBinary(REQUEST, body) as unknown as Request
  return request.resourceMetrics.flatMap(({ resource, scopeMetrics }) =>
    scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ name, unit, data }) =>
        data.value.dataPoints.map(({ timeUnixNano: nanoseconds, value, attributes }) => ({
          ...{ name, unit, value: value.value, nanoseconds },
          ...{ attributes: plain(attributes), resource: plain(resource.attributes) },
        })),
      ),
    ),
  )
}

/** What a receiver says: to take everything is 200 and nothing more. */
export interface Answer {
  readonly status: number
  readonly headers?: Record<string, string>
  readonly rejected?: number
}

/** Receives OTLP over HTTP, and reads it by OpenTelemetry's own descriptors. */
export class Receiver {
  readonly points: Point[] = []
  readonly seen: { url: string; headers: IncomingHttpHeaders }[] = []
  answer: (requests: number) => Answer = () => ({ status: 200 })
  readonly #server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    this.seen.push({ url: `${request.method} ${request.url}`, headers: request.headers })
    const { status, headers = {}, rejected = 0 } = this.answer(this.seen.length)
    if (status === 200) this.points.push(...pointsIn(Buffer.concat(chunks)))
    response.writeHead(status, { 'Content-Type': 'application/x-protobuf', ...headers })
    const partialSuccess = create(PARTIAL, { rejectedDataPoints: BigInt(rejected), errorMessage: 'too old' })
    response.end(rejected > 0 ? toBinary(RESPONSE, create(RESPONSE, { partialSuccess })) : undefined)
  })

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  forget(): void {
    this.points.length = 0
    this.seen.length = 0
    this.answer = () => ({ status: 200 })
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}
