import { LogName } from '../../shared/api/index.ts'
import { fromBase64 } from '../../shared/ledger/index.ts'
import { type OidcRule, oidcRulesSchema } from '../api/index.ts'
import type { S3Options } from '../objects/s3.ts'
import { isKey } from '../objects/store.ts'

/** Settings by name, as a shell or a Worker has them. */
export type Environment = Readonly<Record<string, string | undefined>>

export class SettingsError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SettingsError'
  }
}

/** The operator's own admin token, if there is one. @throws SettingsError */
export function adminSetting(env: Environment): string | undefined {
  const token = env.SOTTO_ADMIN_TOKEN
  if (token !== undefined && !/^[A-Za-z0-9_-]{32,200}$/.test(token)) {
    throw new SettingsError('SOTTO_ADMIN_TOKEN has 32 to 200 letters, digits, "_" or "-"')
  }
  return token
}

/** Closed rounds between two checkpoints, where the operator says. @throws SettingsError */
export function checkpointSetting(env: Environment): number | undefined {
  const text = env.SOTTO_CHECKPOINT_EVERY
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new SettingsError('SOTTO_CHECKPOINT_EVERY is a number of rounds, at least 1')
  return Number(text)
}

/** Name of the coordinator's logs, unless the operator says otherwise. */
const LOG_NAME = 'sotto.local'

/** What logs are called and signed with: the seed of the key, where the operator has one. @throws SettingsError */
export function logSetting(env: Environment): { name: string; seed: Uint8Array | undefined } {
  const name = env.SOTTO_LOG_NAME ?? LOG_NAME
  if (!LogName.safeParse(name).success) {
    throw new SettingsError('SOTTO_LOG_NAME is an address without its scheme, such as sotto.example.org')
  }
  const text = env.SOTTO_LOG_KEY
  const seed = text === undefined ? undefined : fromBase64(text)
  if (seed === null || (seed && seed.length !== 32)) {
    throw new SettingsError('SOTTO_LOG_KEY is 32 random bytes in base64: openssl rand -base64 32')
  }
  return { name, seed }
}

/** Requests of one token in ten seconds, where the operator says; 0 for no limit. @throws SettingsError */
export function rateSetting(env: Environment): number | undefined {
  const text = env.SOTTO_RATE_LIMIT
  if (text === undefined) return undefined
  if (!/^\d{1,7}$/.test(text)) throw new SettingsError('SOTTO_RATE_LIMIT is a number of requests, or 0 for no limit')
  return Number(text)
}

/** Identity providers whose tokens are taken, where the operator names any. @throws SettingsError */
export function oidcSetting(env: Environment): OidcRule[] | undefined {
  const text = env.SOTTO_OIDC
  if (text === undefined) return undefined
  const parsed = oidcRulesSchema.safeParse(jsonOf(text))
  if (parsed.success) return parsed.data
  const fields = parsed.error.issues.map(({ path }) => path.join('.') || 'the whole')
  throw new SettingsError(`SOTTO_OIDC is a list of rules in JSON, see docs/access.md; wrong: ${fields.join(', ')}`)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The bucket that the environment names, if it names one. @throws SettingsError */
export function s3Settings(env: Environment): S3Options | undefined {
  const bucket = env.SOTTO_S3_BUCKET
  const endpoint = env.SOTTO_S3_ENDPOINT
  if (bucket === undefined) {
    if (endpoint !== undefined) throw new SettingsError('SOTTO_S3_ENDPOINT needs SOTTO_S3_BUCKET')
    return undefined
  }
  const accessKeyId = env.AWS_ACCESS_KEY_ID
  const secretAccessKey = env.AWS_SECRET_ACCESS_KEY
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new SettingsError('SOTTO_S3_BUCKET needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  }
  const { SOTTO_S3_REGION: region, SOTTO_S3_PREFIX: prefix } = env
  if (prefix !== undefined && !isKey(prefix))
    throw new SettingsError(
      'SOTTO_S3_PREFIX is a folder of the bucket: names of letters, digits, ".", "_" and "-" between slashes',
    )
  return {
    bucket,
    accessKeyId,
    secretAccessKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(prefix === undefined ? {} : { prefix }),
  }
}
