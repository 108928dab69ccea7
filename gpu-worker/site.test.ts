import { spawnSync } from 'node:child_process'
import { createPublicKey, verify } from 'node:crypto'
import { mkdtempSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { reportBytes, reportSchema } from '../shared/api/index.ts'
import { openSite } from './site.ts'

const folder = () => mkdtempSync(join(tmpdir(), 'sotto-site-'))
const unsigned = {
  kind: 'round' as const,
  run: 'run-1',
  specHash: 'a'.repeat(64),
  lease: 'lease-1',
  dataset: 'north',
  round: 4,
  stateHash: 'b'.repeat(64),
  integers: [1, -2],
}

describe('site', () => {
  it('signs reports with a key that stays, readable by its owner alone', () => {
    const path = folder()
    const first = openSite(path)
    const report = reportSchema.parse(first.signReport(unsigned))
    first.close()
    const second = openSite(path)
    expect(second.publicKey).toBe(first.publicKey)
    expect(statSync(join(path, 'key.pem')).mode & 0o777).toBe(0o600)
    const x = Buffer.from(first.publicKey, 'base64').toString('base64url')
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    const { signature, ...rest } = report
    expect(verify(null, reportBytes(rest), key, Buffer.from(signature, 'base64'))).toBe(true)
    expect(verify(null, reportBytes({ ...rest, round: 5 }), key, Buffer.from(signature, 'base64'))).toBe(false)
  })

  it('is open to one process only, and free again when that one is killed', () => {
    const path = folder()
    const site = openSite(path)
    expect(() => openSite(path)).toThrow(expect.objectContaining({ code: 'state_locked' }))
    site.close()
    const script = `import { openSite } from ${JSON.stringify(new URL('./site.ts', import.meta.url).href)}
      openSite(${JSON.stringify(path)}); process.kill(process.pid, 'SIGKILL')`
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script])
    expect(child.signal).toBe('SIGKILL')
    openSite(path).close()
  })

  it('agrees to one spec of a run, for good', () => {
    const path = folder()
    const site = openSite(path)
    site.pinSpec('run-1', 'a'.repeat(64))
    site.pinSpec('run-1', 'a'.repeat(64))
    expect(() => site.pinSpec('run-1', 'b'.repeat(64))).toThrow(expect.objectContaining({ code: 'spec_mismatch' }))
    site.close()
    const later = openSite(path)
    expect(() => later.pinSpec('run-1', 'b'.repeat(64))).toThrow(expect.objectContaining({ code: 'spec_mismatch' }))
    expect(() => later.pinSpec('run-2', 'a'.repeat(64))).toThrow(expect.objectContaining({ code: 'spec_mismatch' }))
    later.pinSpec('run-2', 'b'.repeat(64))
    later.close()
  })
})
