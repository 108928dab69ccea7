import { html, raw } from 'hono/html'
import { type ApiDocument, type Content, nameOfRef, type Operation, type Schema } from './document.ts'

type Html = ReturnType<typeof html>

const METHODS = ['get', 'post', 'put', 'delete'] as const

/** What an operation is about: `runs` for `/v1/runs/{id}/pause`. */
const groupOf = (path: string): string => path.replace(/^\/v1\//, '').split('/')[path === '/metrics' ? 1 : 0]!
const anchorOf = (method: string, path: string): string =>
  `${method}${path.replaceAll(/[{}]/g, '').replaceAll('/', '-')}`

const joined = (parts: readonly Html[], between: string): Html =>
  html`${parts.map((part, i) => (i === 0 ? part : html`${between}${part}`))}`

const limits = ({ minimum, maximum, exclusiveMinimum, exclusiveMaximum, minItems, maxItems }: Schema): string[] => [
  ...(minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? [`at least ${minimum}`] : []),
  ...(exclusiveMinimum === undefined ? [] : [`above ${exclusiveMinimum}`]),
  ...(maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? [`at most ${maximum}`] : []),
  ...(exclusiveMaximum === undefined ? [] : [`below ${exclusiveMaximum}`]),
  ...(minItems === undefined ? [] : [`at least ${minItems}`]),
  ...(maxItems === undefined ? [] : [`at most ${maxItems}`]),
]

/** What values a schema takes, in words. */
function typeOf(schema: Schema): Html {
  const name = nameOfRef(schema)
  if (name !== null) return html`<a href="#${name}">${name}</a>`
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`
  if (schema.enum)
    return joined(
      schema.enum.map((value) => html`<code>${JSON.stringify(value)}</code>`),
      ', ',
    )
  const parts = schema.anyOf ?? schema.oneOf ?? schema.allOf
  if (parts) return schema.allOf ? joined(parts.map(typeOf), ' and ') : unionOf(parts)
  const bounds = limits(schema)
  const within = bounds.length > 0 ? ` (${bounds.join(', ')})` : ''
  if (schema.items) return html`list of ${typeOf(schema.items)}${within}`
  if (schema.properties) return html`object`
  if (typeof schema.additionalProperties === 'object') return html`map to ${typeOf(schema.additionalProperties)}`
  const type = Array.isArray(schema.type) ? schema.type.join(' or ') : (schema.type ?? 'anything')
  const pattern = schema.pattern === undefined ? '' : html` like <code>${schema.pattern}</code>`
  return html`${type}${within}${pattern}`
}

/** Objects without a name are counted; their fields are shown below. */
function unionOf(parts: readonly Schema[]): Html {
  const unnamed = parts.filter((part) => part.properties && nameOfRef(part) === null)
  const others = parts.filter((part) => unnamed.length < 2 || !unnamed.includes(part)).map(typeOf)
  return joined(unnamed.length < 2 ? others : [html`one of ${unnamed.length} objects`, ...others], ' or ')
}

/** Objects that a schema consists of without a name of their own, so that their fields are shown where they stand. */
function inner(schema: Schema): Schema[] {
  if (nameOfRef(schema) !== null) return []
  if (schema.properties) return [schema]
  const parts = schema.anyOf ?? schema.oneOf ?? schema.allOf
  if (parts) return parts.flatMap(inner)
  return schema.items ? inner(schema.items) : []
}

function fieldsOf(schema: Schema): Html {
  const { properties = {}, required = [] } = schema
  const rows = Object.entries(properties).map(([name, field]) => {
    const optional = required.includes(name) ? '' : html` <span class="optional">optional</span>`
    const fallback = field.default === undefined ? '' : html` Default: <code>${JSON.stringify(field.default)}</code>.`
    const nested = inner(field).map(fieldsOf)
    return html`<tr>
      <th scope="row"><code>${name}</code>${optional}</th>
      <td>${typeOf(field)}</td>
      <td>${field.description ?? ''}${fallback}${nested}</td>
    </tr>`
  })
  return html`<table><thead><tr><th scope="col">Field</th><th scope="col">Type</th><th scope="col"></th></tr></thead>
    <tbody>${rows}</tbody></table>`
}

function contentOf(content: Content | undefined): Html {
  const shown = Object.entries(content ?? {}).map(([type, { schema }]) => {
    const isJson = type === 'application/json' || type === 'application/problem+json'
    return html`${schema ? typeOf(schema) : ''}${isJson ? '' : html` as <code>${type}</code>`}`
  })
  return joined(shown, ', ')
}

function operationOf(path: string, method: string, operation: Operation): Html {
  const { summary = '', parameters = [], requestBody, responses = {}, security } = operation
  const schemas = Object.values(requestBody?.content ?? {}).flatMap(({ schema }) => (schema ? [schema] : []))
  const body = requestBody
    ? html`<h4>Body</h4><p>${contentOf(requestBody.content)}</p>${schemas.flatMap(inner).map(fieldsOf)}`
    : ''
  const rows = parameters.map(
    ({ name, in: where, required, schema }) => html`<tr>
      <th scope="row"><code>${name}</code>${required ? '' : html` <span class="optional">optional</span>`}</th>
      <td>${where}</td>
      <td>${schema ? typeOf(schema) : ''}. ${schema?.description ?? ''}</td>
    </tr>`,
  )
  const table = html`<h4>Parameters</h4>
    <table><thead><tr><th scope="col">Name</th><th scope="col">In</th><th scope="col"></th></tr></thead><tbody>${rows}</tbody></table>`
  const answers = Object.entries(responses).map(
    ([status, { description, content }]) =>
      html`<tr><th scope="row">${status === 'default' ? 'else' : status}</th><td>${description} ${contentOf(content)}</td></tr>`,
  )
  return html`<section id="${anchorOf(method, path)}">
    <h3><span class="method ${method}">${method.toUpperCase()}</span> <code>${path}</code></h3>
    <p>${summary}.${security ? '' : ' Wants no token.'}</p>
    ${rows.length > 0 ? table : ''}${body}
    <h4>Answers</h4>
    <table><tbody>${answers}</tbody></table>
  </section>`
}

/** A page that shows an OpenAPI document. It has no script, and asks for nothing but its style. */
export function referencePage(document: ApiDocument, stylesheet: string): Html {
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => (item[method] ? [{ path, method, operation: item[method] }] : [])),
  )
  const groups = [...new Set(operations.map(({ path }) => groupOf(path)))]
  const linkTo = ({ path, method }: (typeof operations)[number]) =>
    html`<li><a href="#${anchorOf(method, path)}"><span class="method ${method}">${method.toUpperCase()}</span> ${path}</a></li>`
  const ofGroup = (group: string) => operations.filter(({ path }) => groupOf(path) === group)
  const names = Object.keys(document.components.schemas).sort()
  return html`${raw('<!doctype html>')}
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>${document.info.title}: API reference</title>
        <link rel="stylesheet" href="${stylesheet}" />
        <link rel="icon" href="data:," />
      </head>
      <body>
        <nav aria-label="Operations and schemas">
          ${groups.map((group) => html`<h2>${group}</h2><ul>${ofGroup(group).map(linkTo)}</ul>`)}
          <h2>schemas</h2>
          <ul>${names.map((name) => html`<li><a href="#${name}">${name}</a></li>`)}</ul>
        </nav>
        <main>
          <h1>${document.info.title}</h1>
          <p>
            Version ${document.info.version}. The same as data: <a href="/openapi.json">openapi.json</a>. Requests carry
            <code>Authorization: Bearer TOKEN</code>; a POST may carry an <code>Idempotency-Key</code>. Refusals are
            <a href="#Problem">problem documents</a>.
          </p>
          ${groups.map(
            (group) =>
              html`<h2>${group}</h2>${ofGroup(group).map(({ path, method, operation }) => operationOf(path, method, operation))}`,
          )}
          <h2>Schemas</h2>
          ${names.map((name) => {
            const schema = document.components.schemas[name]!
            const shown = inner(schema)
            return html`<section id="${name}">
              <h3>${name}</h3>
              <p>${schema.description ?? ''}</p>
              ${shown.length === 0 || schema.anyOf || schema.oneOf ? html`<p>${typeOf(schema)}</p>` : ''}${shown.map(fieldsOf)}
            </section>`
          })}
        </main>
      </body>
    </html>`
}
