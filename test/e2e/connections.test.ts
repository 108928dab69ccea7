import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Stage } from './harness.ts'

/** Sockets of the kernel with their remote ends, by inode. */
function remotes(pid: number): Map<string, string> {
  const found = new Map<string, string>()
  for (const table of ['tcp', 'tcp6', 'udp', 'udp6']) {
    const path = `/proc/${pid}/net/${table}`
    if (!existsSync(path)) continue
    for (const line of readFileSync(path, 'utf8').trim().split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/)
      found.set(fields[9]!, `${table} ${fields[2]}`)
    }
  }
  return found
}

function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
    } catch {
      return []
    }
  })
}

const onLinux = existsSync('/proc/self/net/tcp')
const title = onLinux ? 'the connections of a worker' : 'the connections of a worker (skipped: needs /proc of Linux)'

describe.skipIf(!onLinux)(title, () => {
  const stage = new Stage()
  beforeAll(async () => {
    await stage.startCoordinator()
    await stage.addSite('north')
  })
  afterAll(() => stage.close())

  it('go to its coordinator and store alone, over a whole run, native code included', async () => {
    const worker = stage.startWorker('north')
    const pid = worker.child.pid!
    const seen = new Set<string>()
    let watching = true
    const watch = (async () => {
      while (watching && worker.child.exitCode === null) {
        const open = remotes(pid)
        for (const inode of socketsOf(pid)) if (open.has(inode)) seen.add(open.get(inode)!)
        await sleep(5)
      }
    })()
    const run = await stage.finish((await stage.submit({ rounds: 8, directions: 4, datasets: ['north'] })).id)
    expect(run.state).toBe('completed')
    watching = false
    await watch
    const port = stage.port.toString(16).toUpperCase().padStart(4, '0')
    expect([...seen]).toContain(`tcp 0100007F:${port}`)
    expect([...seen].filter((remote) => remote !== `tcp 0100007F:${port}`)).toEqual([])
  })

  it('are opened by no telemetry: the variable is set before the runtime loads, in every thread', () => {
    const loaders = ['gpu-worker', 'demo', 'coordinator', 'shared'].flatMap((folder) =>
      readdirSync(new URL(`../../${folder}`, import.meta.url), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
        .map((name) => `${folder}/${name}`)
        .filter((file) =>
          /(?:from|import\()\s*'onnxruntime-node'/.test(
            valueImports(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')),
          ),
        ),
    )
    expect(loaders).toEqual(['gpu-worker/engine/ort.ts'])
    const source = readFileSync(new URL('../../gpu-worker/engine/ort.ts', import.meta.url), 'utf8')
    expect(source.indexOf('ORT_DISABLE_TELEMETRY')).toBeGreaterThan(-1)
    expect(source).toMatch(/ORT_DISABLE_TELEMETRY[\s\S]*import\('onnxruntime-node'\)/)
  })
})

/** A source without its type imports, which load nothing. */
const valueImports = (source: string): string =>
  source.replace(/import type [\s\S]*?from '[^']*'/g, '').replace(/typeof import\('[^']*'\)/g, '')
