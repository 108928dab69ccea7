import { connect, SottoError } from '../../../client/index.ts'
import {
  type Audit,
  AuditError,
  auditDataset,
  auditRun,
  type DatasetAudit,
  datasetLog,
  fromBase64,
  type RunRecord,
  runLog,
  toBase64,
} from '../../../shared/ledger/index.ts'

export interface AuditQuestion {
  readonly kind: 'runs' | 'datasets'
  readonly id: string
  readonly token: string
  /** Whose signature the logs must have. */
  readonly name: string
  readonly publicKey: string
}

type RunFindings = Omit<Audit, 'records' | 'checkpoint'> & Signed
type DatasetFindings = Omit<DatasetAudit, 'checkpoint'> & Signed
interface Signed {
  readonly checkpoint: { readonly size: number; readonly root: string; readonly origin: string }
}

export type AuditTold =
  | { readonly kind: 'progress'; readonly objects: number; readonly bytes: number }
  | { readonly kind: 'run'; readonly findings: RunFindings; readonly counts: Readonly<Record<string, number>> }
  | { readonly kind: 'dataset'; readonly findings: DatasetFindings }
  /** `holds` is false where the audit found something; null where it could not be made, and nothing is known of the log. */
  | { readonly kind: 'fault'; readonly holds: false | null; readonly code: string; readonly detail: string }

const tell = (told: AuditTold) => postMessage(told)

/** Seconds that an audit waits for a coordinator that is busy or away. */
const PATIENCE = 120

const SEGMENT = /^(runs|datasets)\/([^/]+)\/log\/(\d{8})\.jsonl$/

/** Objects of the log, passed through by the coordinator: what it could change, the signatures tell. */
function sourceOf(token: string) {
  const { api, answer } = connect({ url: location.origin, token, patience: PATIENCE })
  /** Segments that came with the one that was asked for. */
  let ahead = new Map<string, Uint8Array>()
  let objects = 0
  let bytes = 0

  async function segmentsAt(key: string): Promise<void> {
    const [, of, id, first] = SEGMENT.exec(key) ?? []
    if (id === undefined) return
    const query = { of: of as 'runs' | 'datasets', id, first: String(Number(first)) }
    const { items } = await answer(api.v1.log.segments.$get({ query }))
    const form = of === 'runs' ? runLog : datasetLog
    ahead = new Map(items.map((item) => [form.segmentKey(id, item.first), new TextEncoder().encode(item.text)]))
  }

  async function objectAt(key: string): Promise<Uint8Array | null> {
    const response = await api.v1.log.objects.$get({ query: { key } })
    if (!response.ok) throw new Unread(response.status === 413 ? 'object_too_large' : `status_${response.status}`, key)
    return response.status === 204 ? null : new Uint8Array(await response.arrayBuffer())
  }

  return {
    read: async (key: string): Promise<Uint8Array | null> => {
      if (!ahead.has(key)) await segmentsAt(key)
      const object = ahead.get(key) ?? (await objectAt(key))
      if (!object) return null
      objects += 1
      bytes += object.length
      tell({ kind: 'progress', objects, bytes })
      return object
    },
  }
}

/** An object that could not be read: nothing is known of the log then. */
class Unread extends Error {
  readonly code: string
  readonly object: string
  constructor(code: string, object: string) {
    super(`${object} could not be read`)
    this.code = code
    this.object = object
  }
}

const verify = async (
  publicKey: Uint8Array<ArrayBuffer>,
  message: Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
) => {
  const key = await crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify'])
  return await crypto.subtle.verify('Ed25519', key, signature, message)
}

const signedOf = ({ size, root, origin }: Audit['checkpoint']): Signed['checkpoint'] => ({
  size,
  root: toBase64(root),
  origin,
})

function countsOf(records: readonly RunRecord[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { type } of records) counts[type] = (counts[type] ?? 0) + 1
  return counts
}

async function audit({ kind, id, token, name, publicKey }: AuditQuestion): Promise<AuditTold> {
  const key = fromBase64(publicKey)
  if (key?.length !== 32)
    return { kind: 'fault', holds: null, code: 'not_a_key', detail: 'A key is 44 characters of base64.' }
  if (globalThis.crypto.subtle === undefined) {
    const detail = 'A browser checks signatures only on pages that come over TLS or from this machine.'
    return { kind: 'fault', holds: null, code: 'insecure_context', detail }
  }
  const signed = { name, publicKey: key, verify }
  try {
    if (kind === 'datasets') {
      const { checkpoint, ...rest } = await auditDataset(sourceOf(token), { dataset: id, ...signed })
      return { kind: 'dataset', findings: { ...rest, checkpoint: signedOf(checkpoint) } }
    }
    const { records, checkpoint, ...rest } = await auditRun(sourceOf(token), { run: id, ...signed })
    return { kind: 'run', findings: { ...rest, checkpoint: signedOf(checkpoint) }, counts: countsOf(records) }
  } catch (error) {
    if (error instanceof AuditError) return { kind: 'fault', holds: false, code: error.code, detail: error.message }
    if (error instanceof Unread) return { kind: 'fault', holds: null, code: error.code, detail: error.message }
    if (error instanceof SottoError)
      return { kind: 'fault', holds: null, code: error.code ?? `status_${error.status}`, detail: error.message }
    throw error
  }
}

addEventListener('message', ({ data }: MessageEvent<AuditQuestion>) => {
  audit(data).then(tell, (error: unknown) =>
    tell({
      kind: 'fault',
      holds: null,
      code: 'unexpected',
      detail: error instanceof Error ? error.message : String(error),
    }),
  )
})
