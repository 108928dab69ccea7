import { DatabaseSync } from 'node:sqlite'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import {
  type Checkpoint,
  cosign,
  fromBase64,
  type Hash,
  NoteError,
  openCheckpoint,
  parseCheckpoint,
  parseNote,
  type SignEd25519,
  type Signer,
  sameBytes,
  type VerifyEd25519,
  verifyConsistency,
} from '../../shared/ledger/index.ts'

export interface WitnessParts {
  /** File of what was seen. */
  readonly database: string
  readonly witness: Signer & { readonly sign: SignEd25519 }
  /** Coordinators by the name of their logs. */
  readonly logs: ReadonlyMap<string, Uint8Array<ArrayBuffer>>
  readonly verify: VerifyEd25519
  /** Milliseconds since 1970. */
  readonly now: () => number
}

const BODY_MAX = 65_536
const PROOF_MAX = 63
/** What a caller's size is told to be behind by. */
const SIZE_TYPE = 'text/x.tlog.size'

interface Request {
  readonly old: number
  readonly proof: readonly Hash[]
  readonly note: string
}

/** Reads `old N`, the hashes of a consistency proof, a blank line and a checkpoint. @returns null for any other form */
function parseRequest(body: string): Request | null {
  const end = body.indexOf('\n\n')
  const [first, ...lines] = body.slice(0, Math.max(0, end)).split('\n')
  const old = /^old (0|[1-9]\d{0,15})$/.exec(first ?? '')?.[1]
  const proof = lines.map(fromBase64)
  if (old === undefined || lines.length > PROOF_MAX || proof.some((hash) => hash?.length !== 32)) return null
  return { old: Number(old), proof: proof as Hash[], note: body.slice(end + 2) }
}

/** The checkpoint that a note says it is, before its signature is looked at. */
function claimed(note: string): Checkpoint | null {
  try {
    return parseCheckpoint(parseNote(note).text)
  } catch {
    return null
  }
}

/** A witness as https://c2sp.org/tlog-witness describes it: one route. */
export function makeWitness({ database, witness, logs, verify, now }: WitnessParts): Hono & { close(): void } {
  const db = new DatabaseSync(database)
  db.exec('PRAGMA journal_mode=wal; PRAGMA synchronous=full')
  db.exec('CREATE TABLE IF NOT EXISTS seen (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root TEXT NOT NULL) STRICT')
  const read = db.prepare('SELECT size, root FROM seen WHERE origin = ?')
  const write = db.prepare(
    'INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root',
  )

  const keyOf = (origin: string) => logs.get(origin.slice(0, origin.lastIndexOf('/')))

  /** Compares and writes without anything between: two that arrive together may not both pass. @returns the status, and the size where it is 409 */
  function advance(
    { origin, size, root }: Checkpoint,
    { old, proof }: Request,
  ): { status: 200 | 409 | 422; size: number } {
    const row = read.get(origin) as { size: number; root: string } | undefined
    const known = row
      ? { size: row.size, root: new Uint8Array(Buffer.from(row.root, 'hex')) }
      : { size: 0, root: new Uint8Array() }
    if (old !== known.size) return { status: 409, size: known.size }
    if (size === known.size && !sameBytes(root, known.root)) return { status: 409, size: known.size }
    if (!verifyConsistency(proof, { older: known, newer: { size, root } })) return { status: 422, size: known.size }
    write.run(origin, size, Buffer.from(root).toString('hex'))
    return { status: 200, size }
  }

  const app = new Hono()
    .use(bodyLimit({ maxSize: BODY_MAX, onError: (c) => c.text('too large\n', 413) }))
    .post('/add-checkpoint', async (c) => {
      const request = parseRequest(await c.req.text())
      const claim = request && claimed(request.note)
      if (!request || !claim || request.old > claim.size || claim.size === 0) return c.text('bad request\n', 400)
      const publicKey = keyOf(claim.origin)
      if (!publicKey) return c.text('unknown log\n', 404)
      try {
        const checkpoint = await openCheckpoint(request.note, { name: claim.origin, publicKey }, verify)
        const { status, size } = advance(checkpoint, request)
        if (status === 409) return c.body(`${size}\n`, 409, { 'Content-Type': SIZE_TYPE })
        if (status === 422) return c.text('the proof does not hold\n', 422)
        const seconds = Math.floor(now() / 1000)
        return c.text(await cosign(parseNote(request.note).text, seconds, witness))
      } catch (error) {
        if (!(error instanceof NoteError)) throw error
        return c.text('not signed by the log\n', 403)
      }
    })
  return Object.assign(app, { close: () => db.close() })
}
