// Replays a log in a context that has ECMAScript and nothing else: no process, no Buffer, no require, no node: module.
// Usage: node --experimental-vm-modules browser-replay.mjs LOG.jsonl   ->   the SHA-256 of the trained state
import { readFileSync } from 'node:fs'
import { createRequire, stripTypeScriptTypes } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import vm from 'node:vm'

const log = readFileSync(process.argv[2], 'utf8')
// What every browser has beside ECMAScript and the pure core uses.
const context = vm.createContext({ TextEncoder, TextDecoder, URL })
const modules = new Map()

function load(url) {
  const known = modules.get(url)
  if (known) return known
  const source = readFileSync(fileURLToPath(url), 'utf8')
  const code = url.endsWith('.ts') ? stripTypeScriptTypes(source) : source
  const module = new vm.SourceTextModule(code, { identifier: url, context })
  modules.set(url, module)
  return module
}

function resolve(specifier, from) {
  if (specifier.startsWith('.')) return new URL(specifier, from).href
  if (specifier.startsWith('node:')) throw new Error(`${from} imports ${specifier}`)
  const require = createRequire(from)
  return pathToFileURL(require.resolve(specifier)).href.replace(/\.cjs$/, '.js')
}

const entry = new vm.SourceTextModule(
  `import { EMPTY_LOG, runLog, resolvedSpec } from './shared/ledger/index.ts'
   import { replay, stateHash } from './shared/zo/index.ts'
   export function run(log) {
     const { records } = runLog.read(EMPTY_LOG, log)
     const spec = resolvedSpec(records[0].spec, records)
     return stateHash(replay(spec, records.filter(({ type }) => type === 'close')).state)
   }
   export const globals = ['process', 'Buffer', 'require', 'setImmediate'].filter((name) => name in globalThis)`,
  { identifier: new URL('../../entry.mjs', import.meta.url).href, context },
)
await entry.link((specifier, referencing) => load(resolve(specifier, referencing.identifier)))
await entry.evaluate()
if (entry.namespace.globals.length > 0) throw new Error('the context is not bare')
console.log(entry.namespace.run(log))
