import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemSchema } from '../../shared/api/index.ts'
import type { Client } from '../../test/rehearsal/client.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'
import type { Schema } from './reference/document.ts'

/** Requests made of the API's own document, whole and spoilt: none may be answered by a fault. */

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

const DEPTH = 6
/** Long arrays are for the tests of limits. */
const ITEMS = 3

/** What fits a schema, or nearly does. */
function arbitraryOf(schema: Schema, document: Document, depth = 0): fc.Arbitrary<unknown> {
  const of = (inner: Schema) => arbitraryOf(inner, document, depth + 1)
  if (depth > DEPTH) return fc.constant(null)
  if (schema.$ref) return of(document.components.schemas[schema.$ref.split('/').at(-1)!]!)
  if ('const' in schema) return fc.constant(schema.const)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  const choices = schema.anyOf ?? schema.oneOf
  if (choices) return fc.oneof(...choices.map(of))
  if (schema.allOf) return fc.tuple(...schema.allOf.map(of)).map((parts) => Object.assign({}, ...(parts as object[])))
  const types = Array.isArray(schema.type) ? schema.type : [schema.type ?? 'object']
  return fc.oneof(...types.map((type) => ofType(type as string, schema, of)))
}

/** The generator knows no lookahead: what it makes then is now and then refused, as it should be. */
function withoutLookahead(pattern: string): string {
  const start = pattern.indexOf('(?!')
  if (start < 0) return pattern
  let depth = 0
  for (let at = start; at < pattern.length; at++) {
    if (pattern[at] === '(') depth++
    else if (pattern[at] === ')' && --depth === 0) return pattern.slice(0, start) + pattern.slice(at + 1)
  }
  return pattern
}

function ofType(type: string, schema: Schema, of: (inner: Schema) => fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  switch (type) {
    case 'string':
      return schema.pattern
        ? fc.stringMatching(new RegExp(withoutLookahead(schema.pattern)))
        : fc.string({ maxLength: 30 })
    case 'integer':
      return fc.integer({ min: Math.max(-1e9, schema.minimum ?? -10), max: Math.min(1e9, schema.maximum ?? 1e6) })
    case 'number': {
      const least = schema.minimum ?? schema.exclusiveMinimum ?? -10
      return fc.double({
        min: least,
        max: Math.max(least, schema.maximum ?? schema.exclusiveMaximum ?? 1e6),
        noNaN: true,
      })
    }
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    case 'array':
      return fc.array(of(schema.items ?? {}), { minLength: Math.min(schema.minItems ?? 0, ITEMS), maxLength: ITEMS })
    default:
      return ofObject(schema, of)
  }
}

function ofObject(
  { properties = {}, required = [], additionalProperties }: Schema,
  of: (inner: Schema) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown> {
  const fields = Object.entries(properties).map(([name, inner]) => [name, of(inner)] as const)
  const known = fc.record(Object.fromEntries(fields), { requiredKeys: required.filter((name) => name in properties) })
  if (typeof additionalProperties !== 'object') return known
  const more = fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), of(additionalProperties), { maxKeys: 3 })
  return fc.tuple(known, more).map(([a, b]) => ({ ...b, ...(a as object) }))
}

/** A value with something wrong somewhere: another type in the place of one part, or a field too many. */
function spoilt(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const wrong = fc.constantFrom<unknown>(null, '', 'x'.repeat(300), -1, 1e308, 0.5, [], {}, true, '__proto__', '\u0000')
  return fc.tuple(value, wrong, fc.nat(), fc.boolean()).map(([whole, odd, at, adds]) => {
    const copy = structuredClone(whole)
    const places: [Record<string, unknown>, string][] = []
    const visit = (part: unknown): void => {
      if (typeof part !== 'object' || part === null) return
      for (const key of Object.keys(part)) {
        places.push([part as Record<string, unknown>, key])
        visit((part as Record<string, unknown>)[key])
      }
    }
    visit(copy)
    const place = places[at % Math.max(1, places.length)]
    if (!place) return odd
    if (adds) place[0]['odd field'] = odd
    else place[0][place[1]] = odd
    return copy
  })
}

describe.each(PLACES)('any request on %s', (on) => {
  const hosts = new Hosts()
  afterAll(() => hosts.clear())
  let stage: StagedHost
  let document: Document
  let worker: FakeWorker
  const ids: string[] = []

  beforeAll(async () => {
    stage = await hosts.start({ on })
    const { admin } = stage
    const model = await setStage(admin, {
      datasets: [{ id: 'north' }, { id: 'south' }],
      files: SMALL_FILES,
      manifest: manifestOf(SMALL_FILES),
    })
    const run = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    worker = await FakeWorker.enrol(admin, 'north')
    const lease = (await worker.lease(5))!
    ids.push(run, lease.id, 'north', 'south', model, worker.id, 'none')
    document = (await admin.get('/openapi.json')).body
  })

  /** Of the document: but the stream, which ends when its run does. */
  const operations = () =>
    Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item).flatMap(([method, operation]) =>
        path.endsWith('/events') && path.startsWith('/v1/runs')
          ? []
          : [{ path, method: method.toUpperCase(), operation }],
      ),
    )

  it('is answered, and by no fault: what is refused is refused by a problem document', async () => {
    const requests = fc.oneof(
      ...operations().map(({ path, method, operation }) => {
        const content = operation.requestBody?.content['application/json']
        const whole = content ? arbitraryOf(content.schema, document) : fc.constant(undefined)
        const query = (operation.parameters ?? []).filter((parameter) => parameter.in === 'query')
        const asked = fc.record(
          Object.fromEntries(
            query.map(({ name, schema }) => [name, fc.oneof(arbitraryOf(schema, document), fc.string())]),
          ),
          { requiredKeys: [] },
        )
        return fc.record({
          method: fc.constant(method),
          path: fc.constantFrom(...ids).map((id) => path.replace('{id}', id)),
          query: asked,
          body: content ? fc.oneof(whole, spoilt(whole), fc.jsonValue()) : fc.constant(undefined),
          isWorker: fc.boolean(),
        })
      }),
    )
    let accepted = 0
    let refused = 0
    await fc.assert(
      fc.asyncProperty(requests, async ({ method, path, query, body, isWorker }) => {
        const search = new URLSearchParams(
          Object.entries(query as Record<string, unknown>).map(([name, value]): [string, string] => [
            name,
            String(value),
          ]),
        )
        const client: Client = isWorker ? worker.client : stage.admin
        // Nobody waits for a lease here.
        const sent = path === '/v1/leases' && isObject(body) ? { ...body, waitSeconds: 0 } : body
        const answer = await client.call(
          method,
          `${path}?${search}`,
          sent === undefined ? {} : { body: JSON.stringify(sent) },
        )
        const told = `${method} ${path} ${JSON.stringify(sent)?.slice(0, 500)}`
        expect(answer.status, told).toBeLessThan(500)
        if (answer.status < 400) accepted++
        else {
          refused++
          const { error: _, ...problem } = answer.body
          expect(problemSchema.parse(problem).status, told).toBe(answer.status)
        }
      }),
      { seed: 23, numRuns: 2500 },
    )
    expect(Math.min(accepted, refused)).toBeGreaterThan(100)
    expect(stage.lines.filter((line) => line.includes('"fault"'))).toEqual([])
  })
})

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
