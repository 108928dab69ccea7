import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'

const ENTRY = fileURLToPath(new URL('../sotto.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'sotto-completion-'))
afterAll(() => rmSync(folder, { recursive: true }))

const printed = (...args: string[]) => spawnSync(process.execPath, [ENTRY, 'completion', ...args], { encoding: 'utf8' })
const has = (shell: string) => spawnSync('sh', ['-c', `command -v ${shell}`]).status === 0
const title = (shell: string) => `${shell}${has(shell) ? '' : ` (skipped: there is no ${shell} here)`}`

/** The words that bash offers for a line whose last word is being typed. */
function offered(...words: string[]): string[] {
  const script = join(folder, 'sotto.bash')
  writeFileSync(script, printed('bash').stdout)
  const line = words.map((word) => `'${word}'`).join(' ')
  const code = `source ${script}; COMP_WORDS=(sotto ${line}); COMP_CWORD=${words.length}; _sotto; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', code], { cwd: folder, encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout.split('\n').filter((word) => word !== '')
}

describe('completion', () => {
  it.skipIf(!has('bash'))(`of nouns, verbs and options in ${title('bash')}`, () => {
    expect(offered('')).toEqual(expect.arrayContaining(['run', 'dataset', 'audit', 'privacy', '--help']))
    expect(offered('ru')).toEqual(['run'])
    expect(offered('run', 'c')).toEqual(['create', 'cancel'])
    expect(offered('model', 'pu')).toEqual(['push', 'pull'])
    expect(offered('run', 'export', '--')).toEqual(expect.arrayContaining(['--otlp', '--follow', '--output']))
    expect(offered('run', 'create', '--w')).toEqual(['--wait'])
    expect(offered('audit', 'canaries', '')).toEqual(['plant', 'score', '--help'])
    expect(offered('audit', 'canaries', 'score', '--conf')).toEqual(['--confidence'])
    expect(offered('run', 'create', '--json', '--t')).toEqual(['--timeout'])
    writeFileSync(join(folder, 'my-run.yaml'), '')
    expect(offered('run', 'create', '-f', 'my')).toEqual(['my-run.yaml'])
  })

  it.skipIf(!has('zsh'))(`is read by ${title('zsh')}`, () => {
    writeFileSync(join(folder, 'sotto.zsh'), printed('zsh').stdout)
    const { status, stderr } = spawnSync('zsh', [
      '-c',
      `autoload -U compinit && compinit -D; source ${join(folder, 'sotto.zsh')}`,
    ])
    expect({ status, stderr: String(stderr) }).toEqual({ status: 0, stderr: '' })
  })

  it.skipIf(!has('fish'))(`is read by ${title('fish')}`, () => {
    writeFileSync(join(folder, 'sotto.fish'), printed('fish').stdout)
    const { status, stdout } = spawnSync(
      'fish',
      ['-c', `source ${join(folder, 'sotto.fish')}; complete -C 'sotto run cr'`],
      {
        encoding: 'utf8',
      },
    )
    expect([status, stdout]).toEqual([0, expect.stringContaining('create')])
  })

  it('knows three shells, and says so', () => {
    for (const shell of ['bash', 'zsh', 'fish']) expect(printed(shell)).toMatchObject({ status: 0, stderr: '' })
    expect(printed('tcsh')).toMatchObject({ status: 2, stderr: expect.stringContaining('bash, zsh, fish') })
    expect(printed('--help').stdout).toMatch(/\nExamples\n {2}sotto completion bash/)
  })
})
