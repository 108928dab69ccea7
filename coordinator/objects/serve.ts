import { Hono } from 'hono'
import { type ProblemCode, problemOf } from '../../shared/api/index.ts'
import type { FolderStore } from './folder.ts'
import { isKey, StoreError } from './store.ts'

const PREFIX = '/objects/'

/** Serves the signed URLs of a folder store: `GET` and `PUT /objects/<key>`. */
export function serveFolder(store: FolderStore): Hono {
  const app = new Hono()
  app.get('/objects/*', async (c) => {
    const key = authorised(store, 'GET', c.req)
    if (key === null) return problem('forbidden')
    const object = await store.stream(key)
    if (object === null) return problem('not_found')
    return c.body(object.body, 200, {
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(object.size),
    })
  })
  app.put('/objects/*', async (c) => {
    const key = authorised(store, 'PUT', c.req)
    if (key === null) return problem('forbidden')
    await store.upload(key, c.req.raw.body ?? new Blob([]).stream())
    return c.body(null, 200)
  })
  app.onError((error) => problem(codeOf(error)))
  return app
}

type Asked = { readonly url: string; query(name: string): string | undefined }

/** The key that a request's signature opens, or null. The path is taken undecoded: no key holds a `%`. */
function authorised(store: FolderStore, method: 'GET' | 'PUT', request: Asked): string | null {
  const key = new URL(request.url).pathname.slice(PREFIX.length)
  const expires = request.query('expires')
  const signature = request.query('signature')
  if (!isKey(key) || expires === undefined || signature === undefined) return null
  return store.verify(method, key, { expires, signature }) ? key : null
}

function codeOf(error: unknown): ProblemCode {
  if (!(error instanceof StoreError)) return 'internal'
  const codes = {
    conflict: 'conflict',
    refused: 'bad_request',
    full: 'storage_full',
    unavailable: 'store_unavailable',
  } as const
  return codes[error.code]
}

function problem(code: ProblemCode): Response {
  const document = problemOf(code)
  return Response.json(document, {
    status: document.status,
    headers: { 'Content-Type': 'application/problem+json' },
  })
}
