import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import { fromBase64, type SignEd25519, witnessKey } from '../../shared/ledger/index.ts'
import { verifyEd25519 } from '../audit/log.ts'
import { InputError, RunError } from '../failure.ts'
import type { WitnessGiven } from './command.ts'
import { makeWitness } from './witness.ts'

/** `sotto witness`: serves until it is told to stop. @throws InputError, RunError */
export async function serveWitness({ state, name, listen, log }: WitnessGiven): Promise<void> {
  const logs = new Map(log.map(logOf))
  const [, hostname, port] = /^([A-Za-z0-9.:[\]-]+):(\d{1,5})$/.exec(listen) ?? []
  if (hostname === undefined || /[\s+]/.test(name))
    throw new InputError('--listen is HOST:PORT, and --name has no spaces and no +')
  mkdirSync(state, { recursive: true, mode: 0o700 })
  const key = loadKey(join(state, 'key.pem'))
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' })
  const publicKey = new Uint8Array(Buffer.from(x, 'base64url'))
  const signing: SignEd25519 = async (message) => new Uint8Array(sign(null, message, key))
  const witness = { name, publicKey, sign: signing }
  const database = join(state, 'seen.sqlite')
  const app = makeWitness({ database, witness, logs, verify: verifyEd25519, now: () => Date.now() })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const server = serve({ fetch: app.fetch, hostname, port: Number(port) }, () => {
    process.stdout.write(`Listening at ${listen}\n${witnessKey(witness)}\n`)
  })
  server.once('error', () => reject(new RunError(`${listen} can not be listened at`)))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close(() => resolve()))
  await promise
  app.close()
}

function logOf(text: string): [string, Uint8Array<ArrayBuffer>] {
  const [, name, key] = /^([^\s+=]+)=([A-Za-z0-9+/]{43}=)$/.exec(text) ?? []
  const publicKey = fromBase64(key ?? '!')
  if (name === undefined || !publicKey) throw new InputError('--log is NAME=KEY, as GET /v1/log has them')
  return [name, publicKey]
}

function loadKey(path: string): KeyObject {
  if (!existsSync(path)) {
    const { privateKey } = generateKeyPairSync('ed25519')
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  }
  return createPrivateKey(readFileSync(path))
}
