import { parseArgs } from 'node:util'
import type { OidcRule } from '../api/index.ts'
import type { S3Options } from '../objects/s3.ts'
import {
  adminSetting,
  checkpointSetting,
  logSetting,
  oidcSetting,
  rateSetting,
  SettingsError,
  s3Settings,
} from './environment.ts'

export interface HostOptions {
  /** Everything the coordinator keeps. */
  readonly dataDir: string
  /** 0: any free one. */
  readonly port?: number
  readonly host?: string
  /** Address that workers reach the coordinator by, where it is not that of the socket. */
  readonly publicUrl?: string
  /** Objects in a bucket; else in `<dataDir>/objects`. */
  readonly s3?: S3Options
  /** An admin token of the operator's choice; else one is made and kept in `<dataDir>/admin-token`. */
  readonly adminToken?: string
  /** `full`: run databases outlive power loss too, at one fsync a commit. Dataset ledgers always do. */
  readonly synchronous?: 'normal' | 'full'
  readonly checkpointEvery?: number
  /** What logs are called and signed with; without a seed one is made and kept in `<dataDir>/log.key`. */
  readonly logs?: { readonly name: string; readonly seed?: Uint8Array | undefined }
  /** Requests of one token in ten seconds; 0 for no limit. Left out: 1,000. */
  readonly rateLimit?: number
  /** Identity providers whose tokens are taken. */
  readonly oidc?: readonly OidcRule[]
  /** Where log lines go; left out: nowhere. */
  readonly log?: (line: string) => void
}

export const HELP = `Usage: npm start -- [--data DIR] [--port N] [--host ADDRESS]

The coordinator: keeps the schedule, the public seeds, the budgets and the log, in one process and one folder.

  --data DIR      folder for everything it keeps (default .sotto)
  --port N        port to listen at (default 8787)
  --host ADDRESS  address to listen at (default 127.0.0.1)
  --help          this text

Environment
  SOTTO_S3_BUCKET        keep objects in this bucket instead of DIR/objects, with
  SOTTO_S3_ENDPOINT      its endpoint (left out: AWS), SOTTO_S3_REGION its region,
  SOTTO_S3_PREFIX        a folder of it, where coordinators share a bucket,
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
  SOTTO_ADMIN_TOKEN      an admin token of your choice, 32 characters or more; else one is made in DIR/admin-token
  SOTTO_PUBLIC_URL       address that workers reach this coordinator by (default: that of the socket)
  SOTTO_CHECKPOINT_EVERY closed rounds between two checkpoints (default 50)
  SOTTO_LOG_NAME         what its logs are called (default sotto.local)
  SOTTO_LOG_KEY          what they are signed with, 32 random bytes in base64; else made in DIR/log.key
  SOTTO_RATE_LIMIT       requests of one token in ten seconds (default 1000; 0: no limit)
  SOTTO_OIDC             identity providers whose tokens are taken, as JSON: see docs/access.md
  SOTTO_SYNCHRONOUS      "full": run databases outlive power loss, at one fsync a commit (default "normal")
`

/** Settings of a coordinator started from a shell, or null where only help was asked for. @throws SettingsError */
export function readSettings(args: string[], env: NodeJS.ProcessEnv): HostOptions | null {
  const values = parsed(args)
  if (values.help) return null
  const port = Number(values.port)
  if (!/^\d{1,5}$/.test(values.port) || port > 65_535) throw new SettingsError('--port is a number from 0 to 65535')
  const synchronous = env.SOTTO_SYNCHRONOUS ?? 'normal'
  if (synchronous !== 'normal' && synchronous !== 'full') {
    throw new SettingsError('SOTTO_SYNCHRONOUS is "normal" or "full"')
  }
  const adminToken = adminSetting(env)
  const publicUrl = env.SOTTO_PUBLIC_URL?.replace(/\/+$/, '')
  const s3 = s3Settings(env)
  const checkpointEvery = checkpointSetting(env)
  const rateLimit = rateSetting(env)
  const logs = logSetting(env)
  const oidc = oidcSetting(env)
  return {
    dataDir: values.data,
    port,
    host: values.host,
    synchronous,
    logs,
    ...(publicUrl === undefined ? {} : { publicUrl }),
    ...(adminToken === undefined ? {} : { adminToken }),
    ...(s3 === undefined ? {} : { s3 }),
    ...(checkpointEvery === undefined ? {} : { checkpointEvery }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    ...(oidc === undefined ? {} : { oidc }),
  }
}

function parsed(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        data: { type: 'string', default: '.sotto' },
        port: { type: 'string', default: '8787' },
        host: { type: 'string', default: '127.0.0.1' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values
  } catch (error) {
    throw new SettingsError(error instanceof Error ? error.message : 'unknown option')
  }
}
