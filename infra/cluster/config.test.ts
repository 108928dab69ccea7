import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { capnpText, clusterConfig } from './config.ts'

const START = fileURLToPath(new URL('start.ts', import.meta.url))
const whole = {
  SOTTO_CLUSTER_KEY: 'k'.repeat(64),
  SOTTO_ADMIN_TOKEN: 'a'.repeat(40),
  SOTTO_LOG_KEY: `${'A'.repeat(43)}=`,
  SOTTO_S3_BUCKET: 'sotto',
  AWS_ACCESS_KEY_ID: 'id',
  AWS_SECRET_ACCESS_KEY: 'secret',
}

/** What an instance says that is not started. */
function refusal(env: Record<string, string | undefined>, args: string[] = []) {
  const flags = ['--disable-warning=ExperimentalWarning', START, ...args]
  const { status, stderr } = spawnSync(process.execPath, flags, { env: { PATH: process.env.PATH, ...env } })
  return { status, says: String(stderr).trim() }
}

describe('the config of an instance', () => {
  it('quotes text, and takes none that would need more', () => {
    expect(capnpText('a"b\\c')).toBe('"a\\"b\\\\c"')
    expect(() => capnpText('line\nbreak')).toThrow(RangeError)
  })

  it('has the objects, the settings by name, and no credential but the key of the cluster', () => {
    const config = clusterConfig(
      {
        compatibilityDate: '2026-10-01',
        compatibilityFlags: ['one', 'two'],
        objects: [{ binding: 'RUNS', className: 'RunObject' }],
      },
      {
        bundle: 'workers.js',
        disk: '/data',
        listen: '127.0.0.1:1',
        clusterBucket: 's3://sotto/cluster',
        clusterAddress: '10.0.0.1:7000',
        clusterAdvertise: '10.0.0.9:7000',
        clusterKey: 'the key',
        settings: ['AWS_SECRET_ACCESS_KEY'],
      },
    )
    expect(config).toContain('(className = "RunObject", uniqueKey = "sotto-RunObject", enableSql = true)')
    expect(config).toContain('(name = "AWS_SECRET_ACCESS_KEY", fromEnvironment = "AWS_SECRET_ACCESS_KEY")')
    expect(config).toContain('compatibilityFlags = ["one", "two"]')
    expect(config).toContain('advertise = "10.0.0.9:7000",')
    expect(config.match(/the key/g)).toHaveLength(1)
  })

  it.each([
    ['SOTTO_CLUSTER_KEY', undefined, /SOTTO_CLUSTER_KEY is needed/],
    ['SOTTO_CLUSTER_KEY', 'short', /SOTTO_CLUSTER_KEY is needed/],
    ['SOTTO_ADMIN_TOKEN', undefined, /SOTTO_ADMIN_TOKEN is needed/],
    ['SOTTO_LOG_KEY', undefined, /SOTTO_LOG_KEY is needed/],
    ['SOTTO_LOG_KEY', 'short', /32 random bytes/],
    ['SOTTO_S3_BUCKET', undefined, /SOTTO_S3_BUCKET is needed/],
    ['AWS_ACCESS_KEY_ID', undefined, /needs AWS_ACCESS_KEY_ID/],
    ['SOTTO_S3_ENDPOINT', 'http://127.0.0.1:1/s3', /has a path/],
  ])('says which setting is missing or wrong: %s %s', (name, value, sentence) => {
    const { status, says } = refusal({ ...whole, [name]: value })
    expect(status).toBe(2)
    expect(says).toMatch(sentence)
  })

  it('says which option is wrong, and helps', () => {
    expect(refusal(whole, ['--listen', 'nowhere'])).toMatchObject({ status: 2, says: '--listen is HOST:PORT' })
    expect(refusal(whole, ['--what'])).toMatchObject({ status: 2, says: expect.stringContaining('--what') })
    const flags = ['--disable-warning=ExperimentalWarning', START, '--help']
    expect(String(execFileSync(process.execPath, flags))).toContain('Usage: npm run cluster')
  })
})
