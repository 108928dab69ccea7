import type { Remote } from '../api/index.ts'
import { type LogFault, LogFaultError } from '../ledger/index.ts'
import { StoreError } from '../objects/store.ts'
import { AwayError, RunError } from '../run/index.ts'
import { StorageError } from '../storage/index.ts'

/** What went wrong in an actor elsewhere: an error loses its class on the way, so that it travels as its code. */
type Fault =
  | { readonly kind: 'run'; readonly code: RunError['code'] }
  | { readonly kind: 'store'; readonly code: StoreError['code'] }
  | { readonly kind: 'storage'; readonly code: StorageError['code']; readonly sqlite?: number | undefined }
  | { readonly kind: 'ledger'; readonly code: LogFault }
  | { readonly kind: 'away' }
  | { readonly kind: 'other' }

export type Reply = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly fault: Fault }

/** Calls a method of an actor here for a caller elsewhere. No error leaves but by its code. */
export async function replyOf(actor: object, method: string, args: readonly unknown[]): Promise<Reply> {
  try {
    const found = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(actor), method)?.value as unknown
    if (typeof found !== 'function' || method === 'constructor') throw new TypeError(`an actor has no method ${method}`)
    return { ok: true, value: await (found.call(actor, ...args) as unknown) }
  } catch (error) {
    return { ok: false, fault: faultOf(error) }
  }
}

function faultOf(error: unknown): Fault {
  if (error instanceof RunError) return { kind: 'run', code: error.code }
  if (error instanceof StoreError) return { kind: 'store', code: error.code }
  if (error instanceof StorageError) return { kind: 'storage', code: error.code, sqlite: error.sqlite }
  if (error instanceof LogFaultError) return { kind: 'ledger', code: error.code }
  return { kind: error instanceof AwayError ? 'away' : 'other' }
}

function errorOf(fault: Fault): Error {
  switch (fault.kind) {
    case 'run':
      return new RunError(fault.code)
    case 'store':
      return new StoreError(fault.code)
    case 'storage':
      return new StorageError(fault.code, fault.sqlite)
    case 'ledger':
      return new LogFaultError(fault.code)
    case 'away':
      return new AwayError()
    case 'other':
      return new Error('a fault of an actor')
  }
}

/**
 * An actor elsewhere as if it were here: its methods, each of them a call.
 * @param send carries a call there and its reply back; where it throws, the actor is away.
 */
export function remote<T extends object>(send: (method: string, args: unknown[]) => Promise<Reply>): Remote<T> {
  return new Proxy(Object.freeze({}), {
    get: (_, method) => {
      // What is awaited is asked for `then`; an actor is no promise.
      if (typeof method !== 'string' || method === 'then') return undefined
      return async (...args: unknown[]): Promise<unknown> => {
        const reply = await send(method, args).catch(() => Promise.reject(new AwayError()))
        if (!reply.ok) throw errorOf(reply.fault)
        return reply.value
      }
    },
  }) as Remote<T>
}
