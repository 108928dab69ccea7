import { eq } from 'drizzle-orm'
import { hashOf } from '../../shared/ledger/index.ts'
import type { Database } from '../storage/index.ts'
import { request } from './schema.ts'

/** A request under an Idempotency-Key: who asked what by which key, and the hash of its body. */
export interface Request {
  readonly caller: string
  readonly route: string
  readonly key: string
  readonly bodyHash: string
}

/**
 * `fresh` or `resume`: go on with the draft (a resumed one belongs to a request whose answer was never stored).
 * `replay`: give the stored answer. `mismatch`: the key was used for another body.
 */
export type Begun =
  | { readonly outcome: 'fresh' | 'resume'; readonly draft: unknown }
  | { readonly outcome: 'replay'; readonly answer: unknown }
  | { readonly outcome: 'mismatch' }

function idOf({ caller, route, key }: Request): string {
  return hashOf([caller, route, key])
}

/** Finds a request by its key, or keeps it with what was drawn for it. */
export function beginRequest(database: Database, wanted: Request, draft: unknown): Begun {
  return database.transact((db) => {
    const known = db
      .select()
      .from(request)
      .where(eq(request.id, idOf(wanted)))
      .get()
    if (!known) {
      db.insert(request)
        .values({ id: idOf(wanted), bodyHash: wanted.bodyHash, draft: JSON.stringify(draft) })
        .run()
      return { outcome: 'fresh', draft }
    }
    if (known.bodyHash !== wanted.bodyHash) return { outcome: 'mismatch' }
    if (known.answer !== null) return { outcome: 'replay', answer: JSON.parse(known.answer) as unknown }
    return { outcome: 'resume', draft: JSON.parse(known.draft) as unknown }
  })
}

export function finishRequest(database: Database, wanted: Request, answer: unknown): void {
  database.transact((db) => {
    db.update(request)
      .set({ answer: JSON.stringify(answer) })
      .where(eq(request.id, idOf(wanted)))
      .run()
  })
}
