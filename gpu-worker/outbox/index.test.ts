import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tinyDisk } from '../../test/rehearsal/tiny-disk.ts'
import { openOutbox } from './index.ts'

/** A body as far as the outbox reads it. */
const body = (lease: string, more = '') => JSON.stringify({ run: 'run-1', lease, more })
const folder = () => mkdtempSync(join(tmpdir(), 'sotto-outbox-'))

describe('outbox', () => {
  it('keeps bytes until they are answered for, and keeps them after', () => {
    const path = folder()
    openOutbox(path).put('lease-1', body('lease-1'))
    const again = openOutbox(path)
    expect(again.pending()).toEqual(['lease-1'])
    again.markAnswered('lease-1')
    expect(again.pending()).toEqual([])
    expect(openOutbox(path).find('lease-1')).toBe(body('lease-1'))
  })

  it('never takes second bytes for one lease, answered or not', () => {
    const outbox = openOutbox(folder())
    outbox.put('lease-1', body('lease-1', 'first'))
    expect(() => outbox.put('lease-1', body('lease-1', 'second'))).toThrow(
      expect.objectContaining({ code: 'lease_used' }),
    )
    outbox.markAnswered('lease-1')
    expect(() => outbox.put('lease-1', body('lease-1', 'second'))).toThrow(
      expect.objectContaining({ code: 'lease_used' }),
    )
    expect(outbox.find('lease-1')).toBe(body('lease-1', 'first'))
  })

  it('remembers what was released for a run, over restarts', () => {
    const path = folder()
    const outbox = openOutbox(path)
    outbox.put('lease-1', body('lease-1'))
    outbox.put('lease-2', body('lease-2'))
    outbox.markAnswered('lease-1')
    expect(outbox.released('run-1').sort()).toEqual(['lease-1', 'lease-2'])
    expect(openOutbox(path).released('run-1').sort()).toEqual(['lease-1', 'lease-2'])
    expect(outbox.released('run-2')).toEqual([])
  })

  it('does not take a half-written file for bytes', () => {
    const path = folder()
    writeFileSync(join(path, 'lease-1.json.partial'), '{"a"')
    const outbox = openOutbox(path)
    expect(outbox.find('lease-1')).toBeNull()
    expect(outbox.pending()).toEqual([])
    outbox.put('lease-1', body('lease-1'))
    expect(readdirSync(path)).toEqual(['lease-1.json'])
  })

  it.each(['../key', 'a/b', '', 'A', '.', 'x'.repeat(64)])('refuses the lease id "%s"', (lease) => {
    expect(() => openOutbox(folder()).put(lease, 'x')).toThrow(expect.objectContaining({ code: 'log_mismatch' }))
  })

  it('says that the disk is full, keeps nothing half-written, and takes the bytes when there is room', ({ skip }) => {
    const disk = tinyDisk()
    if (!disk) return skip('no file system can be mounted here')
    try {
      const outbox = openOutbox(join(disk.path, 'outbox'))
      const filler = join(disk.path, 'filler')
      writeFileSync(filler, Buffer.alloc(2 ** 21 - 2 ** 14))
      const large = body('lease-1', 'x'.repeat(2 ** 16))
      expect(() => outbox.put('lease-1', large)).toThrow(expect.objectContaining({ code: 'disk_full' }))
      expect(outbox.find('lease-1')).toBeNull()
      expect(outbox.pending()).toEqual([])
      rmSync(filler)
      outbox.put('lease-1', large)
      expect(outbox.find('lease-1')).toBe(large)
    } finally {
      disk.unmount()
    }
  })
})
