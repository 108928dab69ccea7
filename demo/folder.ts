import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CoordinatorKind } from './coordinator.ts'
import type { MailSplit } from './mail/index.ts'
import { MAILBOXES } from './settings.ts'

/** What a second start needs to go on with the run of the first. */
export interface Saved {
  readonly coordinator: CoordinatorKind
  readonly adminToken: string
  readonly run: string
  /** Worker tokens by mailbox. */
  readonly tokens: Record<string, string>
  readonly finished: boolean
}

/** Names a folder as the demo's own, to be emptied. */
const MARK = '.sotto-demo'

/** The demo's folder: mailboxes, coordinator, workers, logs of the processes, and the saved run. */
export class DemoFolder {
  readonly path: string
  constructor(path: string) {
    this.path = path
  }

  /** The run to go on with, or null where there is none or it ended. */
  saved(): Saved | null {
    const file = join(this.path, 'demo.json')
    if (!existsSync(file)) return null
    const saved: Saved = JSON.parse(readFileSync(file, 'utf8'))
    return saved.finished ? null : saved
  }

  save(saved: Saved): void {
    const file = join(this.path, 'demo.json')
    writeFileSync(`${file}.partial`, JSON.stringify(saved), { mode: 0o600 })
    renameSync(`${file}.partial`, file)
  }

  /** An empty folder with the mailboxes in it, one JSONL file each, as a data owner would have it. */
  prepare(split: MailSplit): void {
    this.#clear()
    for (const name of MAILBOXES) {
      mkdirSync(this.site(name), { recursive: true, mode: 0o700 })
      writeFileSync(this.mailbox(name), split.mailboxes[name].map((mail) => `${JSON.stringify(mail)}\n`).join(''), {
        mode: 0o600,
      })
    }
  }

  /** Empties a folder that is the demo's own. @throws Error for any other that is not empty. */
  #clear(): void {
    const held = existsSync(this.path) ? readdirSync(this.path) : []
    if (held.length > 0 && !held.includes(MARK)) {
      throw new Error(`${this.path} is not empty and not the demo's: give --dir a folder of its own`)
    }
    rmSync(this.path, { recursive: true, force: true })
    mkdirSync(this.path, { recursive: true, mode: 0o700 })
    writeFileSync(this.file(MARK), 'The demo of Sotto empties this folder when it begins anew.\n')
  }

  site(name: string): string {
    return join(this.path, 'sites', name)
  }
  mailbox(name: string): string {
    return join(this.site(name), 'mail.jsonl')
  }
  file(name: string): string {
    return join(this.path, name)
  }
}
