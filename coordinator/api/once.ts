import { hashOf } from '../../shared/ledger/index.ts'
import { ApiError } from './fault.ts'
import type { ApiContext } from './route.ts'
import type { Services } from './services.ts'

export interface Created {
  readonly status: 200 | 201
  readonly answer: unknown
}

interface Creation<D> {
  readonly body: unknown
  /** What the request draws at random, kept with its key: a retry after a crash goes on with the same. */
  readonly draft: () => D
  readonly make: (draft: D) => Promise<Created>
  /**
   * `store`: a repeat gets the first answer. `remake`: it is made again (the answer holds URLs that expire, and making it
   * twice is making it once). `refuse`: the answer holds a token, which is kept nowhere, so that a repeat is a
   * conflict. (After a crash before the first answer a repeat makes a second token; nobody ever saw the first.)
   */
  readonly repeat: 'store' | 'remake' | 'refuse'
}

const KEY = /^[\x21-\x7e]{1,200}$/

/** Makes a thing once for one `Idempotency-Key`; the same key with another body is a conflict. */
export async function once<D>(services: Services, c: ApiContext, creation: Creation<D>): Promise<Created> {
  const key = c.req.header('Idempotency-Key')
  if (key === undefined) return await creation.make(creation.draft())
  if (!KEY.test(key)) throw new ApiError('bad_request', 'Idempotency-Key')
  const request = {
    caller: c.get('principal').token,
    route: `${c.req.method} ${c.req.path}`,
    key,
    bodyHash: hashOf(creation.body),
  }
  const begun = await services.directory.beginRequest(request, creation.draft())
  if (begun.outcome === 'mismatch') throw new ApiError('conflict', 'Idempotency-Key')
  if (begun.outcome === 'replay') {
    if (creation.repeat === 'refuse') throw new ApiError('conflict', 'Idempotency-Key')
    return begun.answer as Created
  }
  const created = await creation.make(begun.draft as D)
  if (creation.repeat !== 'remake') {
    await services.directory.finishRequest(request, creation.repeat === 'store' ? created : null)
  }
  return created
}
