import { fileURLToPath } from 'node:url'
import { runInThisContext } from 'node:vm'
import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { launch } from '../pages/browser.ts'

/** Answers by the name of their question; numbers as the 16 hexadecimal digits of their IEEE bits. */
export type Answers = Record<string, string>

/** What the bundle's text leaves behind: one global object with one function. */
const GLOBAL = 'portable'

/** One script of the entry and everything it imports, for any engine: the same text is run everywhere. */
export const bundle = async (entry: URL): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(entry)],
    bundle: true,
    write: false,
    format: 'iife',
    globalName: GLOBAL,
    target: 'es2024',
    platform: 'neutral',
    logLevel: 'silent',
  })
  return outputFiles[0]!.text
}

export const inNode = (code: string): Answers => runInThisContext(`(() => { ${code}; return ${GLOBAL}.answers() })()`)

export const inWorkerd = async (code: string): Promise<Answers> => {
  const worker = `${code}\nexport default { fetch() { return Response.json(${GLOBAL}.answers()) } }`
  const miniflare = new Miniflare({
    port: 0,
    host: '127.0.0.1',
    cf: false,
    logRequests: false,
    workers: [
      {
        config: {
          name: 'portable',
          compatibilityDate: '2026-10-01',
          exports: {},
          manifest: { mainModule: 'm.mjs', modules: { 'm.mjs': { type: 'esm', contents: worker } } },
          env: {},
        },
      },
    ],
  })
  try {
    const response = await fetch(await miniflare.ready)
    return (await response.json()) as Answers
  } finally {
    await miniflare.dispose()
  }
}

export const inChromium = async (code: string): Promise<Answers> => {
  const browser = await launch()
  try {
    const page = await browser.newPage()
    await page.addScriptTag({ content: code })
    return await page.evaluate<Answers>(`${GLOBAL}.answers()`)
  } finally {
    await browser.close()
  }
}
