/**
 * Writes the migrations of the actors: `node coordinator/storage/generate.ts`. drizzle-kit compares each `schema.ts` with
 * the last snapshot and adds a SQL file; this gathers them in `migrations.gen.ts`, which runs where no file can be read.
 * `--gather` only gathers.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const coordinator = dirname(dirname(fileURLToPath(import.meta.url)))
export const ACTORS = ['directory', 'dataset', 'run', 'webhooks'] as const

interface Journal {
  entries: { idx: number; when: number; tag: string; breakpoints: boolean }[]
}

/** Source of an actor's `migrations.gen.ts`. */
export function gather(actor: string): string {
  const folder = join(coordinator, actor, 'migrations')
  const journal = JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8')) as Journal
  const entries = journal.entries.map(({ idx, when, tag, breakpoints }) => ({ idx, when, tag, breakpoints }))
  const migrations = Object.fromEntries(
    entries.map(({ idx, tag }) => [
      `m${String(idx).padStart(4, '0')}`,
      readFileSync(join(folder, `${tag}.sql`), 'utf8'),
    ]),
  )
  const value = JSON.stringify({ journal: { entries }, migrations }, null, 2)
  return `// Written by coordinator/storage/generate.ts.\nimport type { Migrations } from '../storage/index.ts'\n\nexport const migrations: Migrations = ${value}\n`
}

function generate(actor: string): void {
  const schema = `./coordinator/${actor}/schema.ts`
  const out = `./coordinator/${actor}/migrations`
  const args = ['generate', '--dialect', 'sqlite', '--driver', 'durable-sqlite', '--schema', schema, '--out', out]
  execFileSync('drizzle-kit', args, { cwd: dirname(coordinator), stdio: 'inherit' })
  // Its own gathering imports `.sql` files, which Node can not load.
  rmSync(join(coordinator, actor, 'migrations/migrations.js'), { force: true })
}

if (import.meta.main) {
  for (const actor of ACTORS) {
    if (!process.argv.includes('--gather')) generate(actor)
    writeFileSync(join(coordinator, actor, 'migrations.gen.ts'), gather(actor))
  }
}
