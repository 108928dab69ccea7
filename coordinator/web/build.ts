/**
 * Builds what the pages load into `assets.gen.ts`, which is served where no file can be read:
 * `node --disable-warning=ExperimentalWarning coordinator/web/build.ts`. A test builds it again and compares the bytes.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type Metafile, type OutputFile, type Plugin } from 'esbuild'

const web = dirname(fileURLToPath(import.meta.url))
const root = dirname(dirname(web))
const PAGES = ['runs', 'run', 'privacy', 'ledger', 'datasets', 'dataset', 'plan', 'compare'] as const
const WORKERS = ['accounting', 'auditing'] as const
const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
}

/** zod brings its messages in fifty languages, and this product shows none of them. */
const oneLanguage: Plugin = {
  name: 'one-language',
  setup(plugins) {
    plugins.onResolve({ filter: /\/locales\/index\.js$/ }, ({ path, importer }) =>
      importer.includes('/zod/') ? { path, namespace: 'no-languages' } : undefined,
    )
    plugins.onLoad({ filter: /.*/, namespace: 'no-languages' }, () => ({ contents: 'export {}' }))
  },
}

const OPTIONS = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2023',
  platform: 'browser',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  outdir: 'assets',
  entryNames: '[name]-[hash]',
  chunkNames: 'part-[hash]',
  legalComments: 'none',
  logLevel: 'silent',
  inject: ['coordinator/web/browser/no-eval.ts'],
  plugins: [oneLanguage],
} satisfies BuildOptions

interface Built {
  readonly outputFiles: readonly OutputFile[]
  readonly metafile: Metafile
}

/** Path of what an entry became. */
function outputOf({ metafile }: Built, entry: string): string {
  const found = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === entry)
  if (!found) throw new Error(`${entry} was not built`)
  return found[0]
}

const pathOf = (output: string): string => `/assets/${basename(output)}`

async function buildAll() {
  const workers: Built = await build({
    ...OPTIONS,
    write: false,
    metafile: true,
    entryPoints: WORKERS.map((name) => `coordinator/web/browser/${name}.worker.ts`),
  })
  const define = Object.fromEntries(
    WORKERS.map((name) => [
      `${name.toUpperCase()}_WORKER`,
      JSON.stringify(pathOf(outputOf(workers, `coordinator/web/browser/${name}.worker.ts`))),
    ]),
  )
  const pages: Built = await build({
    ...OPTIONS,
    write: false,
    metafile: true,
    splitting: true,
    define,
    entryPoints: [
      ...PAGES.map((name) => `coordinator/web/browser/pages/${name}.tsx`),
      'coordinator/web/browser/style.css',
    ],
  })
  return { workers, pages }
}

/** The source of `assets.gen.ts`. */
export async function generate(): Promise<string> {
  const { workers, pages } = await buildAll()
  const files = [...workers.outputFiles, ...pages.outputFiles].map(({ path, text }) => [basename(path), text] as const)
  files.push(['icon.svg', readFileSync(join(web, 'browser/icon.svg'), 'utf8')])
  const assets = files
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, body]) =>
        `  [${JSON.stringify(name)}, { type: ${JSON.stringify(TYPES[name.split('.').at(-1)!])}, body: ${JSON.stringify(body)} }],`,
    )
  const style = pathOf(outputOf(pages, 'coordinator/web/browser/style.css'))
  const loaded = PAGES.map((name) => {
    const output = outputOf(pages, `coordinator/web/browser/pages/${name}.tsx`)
    const preload = importsOf(pages.metafile, output).map(pathOf)
    return `  ${name}: ${JSON.stringify({ script: pathOf(output), preload, style })},`
  })
  return [
    '// Written by coordinator/web/build.ts.',
    '',
    'export const ASSETS: ReadonlyMap<string, { readonly type: string; readonly body: string }> = new Map([',
    ...assets,
    '])',
    '',
    'export const PAGES = {',
    ...loaded,
    '} as const',
    '',
    'export type PageName = keyof typeof PAGES',
    '',
  ].join('\n')
}

/** What a script imports at once, and what that imports. */
function importsOf(metafile: Metafile, output: string, known = new Set<string>()): string[] {
  for (const { path, kind } of metafile.outputs[output]?.imports ?? []) {
    if (kind !== 'import-statement' || known.has(path)) continue
    known.add(path)
    importsOf(metafile, path, known)
  }
  return [...known].sort()
}

if (import.meta.main) writeFileSync(join(web, 'assets.gen.ts'), await generate())
