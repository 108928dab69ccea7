import type { S3Options } from '../objects/s3.ts'

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
  const region = env.SOTTO_S3_REGION
  return {
    bucket,
    accessKeyId,
    secretAccessKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
  }
}
