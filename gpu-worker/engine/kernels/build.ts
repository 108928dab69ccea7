import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** `npm run kernels`: compiles assembly/zo.ts to zo.wasm. A test compiles it again and compares the bytes. */

const SOURCE = 'gpu-worker/engine/kernels/assembly/zo.ts'
/** Names of the source go into what is compiled: always as seen from here. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const OPTIONS = ['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--importMemory', '--noExportMemory']

/** @param output path, as seen from the root of the repository. @throws Error with what the compiler says. */
export function compile(output: string): void {
  const compiler = createRequire(import.meta.url).resolve('assemblyscript/bin/asc.js')
  execFileSync(process.execPath, [compiler, SOURCE, '--outFile', output, ...OPTIONS], { cwd: ROOT, stdio: 'pipe' })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) compile('gpu-worker/engine/kernels/zo.wasm')
