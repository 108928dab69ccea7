import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Where `.ci/run` puts the validators that PyPI has. */
const PLACES = [join(ROOT, '.venv/infra/bin'), ...(process.env.PATH ?? '').split(delimiter)]

/** A program's path, or null where it is not installed. */
export function findTool(name: string): string | null {
  return PLACES.map((folder) => join(folder, name)).find(existsSync) ?? null
}

/** The Python of the validators, where it has a package. */
export function findPython(module: string): string | null {
  const python = join(ROOT, '.venv/infra/bin/python')
  if (!existsSync(python)) return null
  const found = spawnSync(python, [
    '-c',
    `import importlib.util as u; raise SystemExit(u.find_spec("${module}") is None)`,
  ])
  return found.status === 0 ? python : null
}

/** Said beside the name of a test that is skipped. */
export const unless = (tool: string | null, name: string): string =>
  tool === null ? ` (skipped: ${name} is not installed)` : ''

/** What a program says and how it ends. */
export function outcomeOf(
  program: string,
  args: readonly string[],
  input = '',
): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: ROOT, encoding: 'utf8', input })
  return { status, said: `${stdout}${stderr}` }
}

export const tracked = (folder: string): string[] =>
  execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', folder], {
    cwd: ROOT,
    encoding: 'utf8',
  })
    .split('\n')
    .filter(Boolean)
