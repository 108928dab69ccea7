import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type NodeHost, startNodeHost } from '../../coordinator/hosts/node.ts'
import type { HostOptions } from '../../coordinator/hosts/settings.ts'
import { Client } from './client.ts'

export interface StagedHost {
  readonly host: NodeHost
  readonly admin: Client
  readonly dataDir: string
  readonly lines: string[]
}

/** Starts coordinators for tests, and clears all of them away. */
export class Hosts {
  readonly #closers: (() => unknown)[] = []

  async start(options: Partial<HostOptions> = {}): Promise<StagedHost> {
    const dataDir = options.dataDir ?? this.folder()
    const lines: string[] = []
    const host = await startNodeHost({ port: 0, log: (line) => void lines.push(line), ...options, dataDir })
    this.#closers.push(() => host.close())
    return { host, admin: new Client(host.url, host.adminToken), dataDir, lines }
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
