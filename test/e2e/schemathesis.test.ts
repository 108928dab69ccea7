import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Hosts, type StagedHost } from '../rehearsal/host.ts'
import { ROOT } from './harness.ts'

/** Of a virtual environment of the repository, or of the machine. */
function findProgram(): string | null {
  const own = join(ROOT, '.venv/bin/schemathesis')
  if (existsSync(own)) return own
  return spawnSync('schemathesis', ['--version']).status === 0 ? 'schemathesis' : null
}

const program = findProgram()
const absent = program ? '' : ' (needs schemathesis: python3 -m venv .venv && .venv/bin/pip install schemathesis)'

const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
  'ignored_auth',
]

/** A tool that nobody here wrote reads the document and asks of each route what it may be asked, and what it may not. */
describe.skipIf(!program)(`requests that schemathesis makes of the document${absent}`, () => {
  const hosts = new Hosts()
  let stage: StagedHost
  beforeAll(async () => {
    stage = await hosts.start({ rateLimit: 0 })
  })
  afterAll(() => hosts.clear())

  it('are answered as the document says', async () => {
    const args = [
      'run',
      `${stage.host.url}/openapi.json`,
      ...['-H', `Authorization: Bearer ${stage.host.adminToken}`],
      ...['--checks', CHECKS.join(','), '--phases', 'coverage,fuzzing', '--max-examples', '5'],
      // A stream of events ends when its run does.
      ...['--exclude-path-regex', '/events$', '--seed', '23', '--continue-on-failure', '--no-color'],
    ]
    const output: string[] = []
    const child = spawn(program!, args, { cwd: hosts.folder() })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => output.push(String(chunk)))
    const code = await new Promise((resolve) => child.once('exit', resolve))
    const said = output.join('')
    expect(said, said).toMatch(/Test cases:\s+\d+ generated, \d+ passed/)
    expect(code, said).toBe(0)
    expect(stage.lines.filter((line) => line.includes('"fault"'))).toEqual([])
  }, 300_000)
})
