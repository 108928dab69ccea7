import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A file system of two megabytes, where the machine lets one be mounted. */
export function tinyDisk(): { path: string; unmount: () => void } | null {
  const path = mkdtempSync(join(tmpdir(), 'sotto-tiny-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', path], { stdio: 'ignore' })
  } catch {
    rmSync(path, { recursive: true })
    return null
  }
  function unmount() {
    execFileSync('umount', ['-l', path])
    rmSync(path, { recursive: true })
  }
  return { path, unmount }
}
