import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { inject } from 'vitest'
import { type NodeHost, startNodeHost } from '../../coordinator/hosts/node.ts'
import type { HostOptions } from '../../coordinator/hosts/settings.ts'
import { FolderStore, type ObjectStore, openS3Store } from '../../coordinator/objects/index.ts'
import { Client } from './client.ts'
import { startWorkerd } from './workerd.ts'

/** Where a coordinator may run; what its API promises it promises on all of them. */
export const PLACES = ['node', 'workerd'] as const
export type Place = (typeof PLACES)[number]

export interface StagedHost {
  readonly host: NodeHost
  readonly admin: Client
  readonly dataDir: string
  readonly lines: string[]
}

/** Starts coordinators for tests, and clears all of them away. */
export class Hosts {
  readonly #closers: (() => unknown)[] = []

  async start(options: Partial<HostOptions> & { on?: Place } = {}): Promise<StagedHost> {
    const { on = 'node', ...given } = options
    const dataDir = options.dataDir ?? this.folder()
    const s3 = given.s3 ?? (on === 'workerd' ? inject('s3') : undefined)
    // All tests share a bucket: each coordinator has a folder of it.
    const rest = { ...given, ...(s3 ? { s3: { prefix: basename(dataDir), ...s3 } } : {}) }
    const lines: string[] = []
    const log = (line: string) => void lines.push(line)
    const host =
      on === 'node'
        ? await startNodeHost({ port: 0, log, ...rest, dataDir })
        : await startWorkerd({
            s3: rest.s3!,
            checkpointEvery: rest.checkpointEvery,
            rateLimit: rest.rateLimit,
            oidc: rest.oidc,
            log,
            dataDir,
          })
    this.#closers.push(() => host.close())
    return { host, admin: new Client(host.url, host.adminToken), dataDir, lines }
  }

  /** What a coordinator keeps everything in, for those who change it behind its back. */
  async storeOf(stage: StagedHost, on: Place): Promise<ObjectStore> {
    if (on === 'workerd') return openS3Store({ ...inject('s3'), prefix: basename(stage.dataDir) })
    const given = { signingKey: new Uint8Array(32), baseUrl: () => '', now: Date.now }
    return await FolderStore.open({ root: join(stage.dataDir, 'objects'), ...given })
  }

  folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'sotto-'))
    this.#closers.push(() => rmSync(path, { recursive: true, force: true }))
    return path
  }

  async clear(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}
