import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const tracked = (...patterns: string[]) =>
  execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...patterns], {
    cwd: ROOT,
    encoding: 'utf8',
  })
    .split('\n')
    .filter(Boolean)
const read = (file: string) => readFileSync(new URL(file, `file://${ROOT}`), 'utf8')
const sources = (folder: string) =>
  tracked(`${folder}/**/*.ts`, `${folder}/*.ts`).filter((file) => !/\.test\.ts$|\.gen\.ts$/.test(file))
/** A source without its comments and texts, which may speak of what the code may not do. */
const code = (file: string) =>
  read(file)
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '')

describe('the house', () => {
  it('keeps clocks, ambient randomness and I/O out of shared/', () => {
    const ambient =
      /(?<!#)\b(Date\.now|new Date|Math\.random|crypto\.|globalThis|process\.|(?<!#)fetch\(|console\.|performance\.|setTimeout)/
    expect(sources('shared').filter((file) => ambient.test(code(file)))).toEqual([])
  })

  it('keeps transcendental functions out of what is replayed bit for bit', () => {
    const inexact = /Math\.(log|exp|sin|cos|tan|pow|cbrt|hypot|sinh|tanh)\b|\*\*(?! 32)/
    const parts = [
      'direction',
      'kernels',
      'mask',
      'merge',
      'perturb',
      'replay',
      'schedule',
      'space',
      'state',
      'threefry',
      'update',
    ]
    const replayed = parts.map((name) => `shared/zo/${name}.ts`)
    expect(replayed.filter((file) => inexact.test(code(file)))).toEqual([])
  })

  it('takes time and randomness from the host in the coordinator', () => {
    const ambient = /\b(Date\.now|Math\.random|performance\.now)\b/
    const folders = ['run', 'dataset', 'directory'].flatMap((name) => sources(`coordinator/${name}`))
    expect(folders.filter((file) => ambient.test(code(file)))).toEqual([])
  })

  it.each([
    ['shared/zo/x.ts', 'node:fs'],
    ['shared/zo/x.ts', 'node:fs/promises'],
    ['shared/api/x.ts', 'hono'],
    ['shared/privacy/x.ts', 'd3-scale'],
    ['cli/privacy/x.ts', '../../coordinator/run/index.ts'],
    ['cli/model/x.ts', '../../gpu-worker/loop.ts'],
    ['cli/model/x.ts', '../../gpu-worker/engine/graph/graph.ts'],
    ['cli/model/x.ts', '../../coordinator/run/index.ts'],
    ['cli/privacy/x.ts', '../../gpu-worker/engine/index.ts'],
    ['shared/api/x.ts', '../../gpu-worker/loop.ts'],
    ['gpu-worker/x.ts', '../coordinator/run/index.ts'],
    ['gpu-worker/engine/x.ts', '../../demo/non-private.ts'],
    ['coordinator/run/x.ts', 'node:sqlite'],
    ['coordinator/hosts/x.ts', '../../gpu-worker/loop.ts'],
  ])('has a check that refuses %s importing %s', (file, imported) => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-house-'))
    cpSync(join(ROOT, 'biome.json'), join(folder, 'biome.json'))
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    const lint = (specifier: string) => {
      writeFileSync(join(folder, file), `import * as x from '${specifier}'\nexport const y = x\n`)
      const options = ['lint', '--vcs-enabled=false', '--only=style/noRestrictedImports', '.']
      return spawnSync(join(ROOT, 'node_modules/.bin/biome'), options, { cwd: folder, encoding: 'utf8' })
    }
    expect(lint(imported)).toMatchObject({ status: 1, stderr: expect.stringContaining('noRestrictedImports') })
    expect(lint('./y.ts')).toMatchObject({ status: 0 })
  })

  it('never uses Math.random', () => {
    const folders = ['shared', 'coordinator', 'gpu-worker', 'cli', 'demo']
    const all = folders.flatMap((folder) => sources(folder))
    expect(all.filter((file) => /Math\.random/.test(code(file)))).toEqual([])
  })

  it('lets nothing but the demo and the benchmarks import the paths without noise', () => {
    const importers = tracked('*.ts').filter((file) => /from '.*non-private\.ts'/.test(read(file)))
    expect(importers.filter((file) => !/^(demo|test\/bench)\//.test(file))).toEqual([])
  })

  it('names folders by concept', () => {
    const byKind = /(^|\/)(utils?|helpers?|common|types|misc|lib)\//
    expect(tracked('.').filter((file) => byKind.test(file))).toEqual([])
  })
})
