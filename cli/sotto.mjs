#!/usr/bin/env node
// Plain JavaScript that any Node from 18 on can read: everything else needs Node 24, which runs TypeScript as it is.
const NODE_MIN = 24
const isRecent = () => Number(process.versions.node.split('.')[0]) >= NODE_MIN

if (isRecent()) {
  await keepCompiled()
  const { main } = await import('./main.ts')
  process.exitCode = await main(process.argv.slice(2))
} else {
  await runAgain()
}

/** Halves the start-up of later calls. In the checkout, as a folder that others can write would let them run code here. */
async function keepCompiled() {
  const { enableCompileCache } = await import('node:module')
  const { fileURLToPath } = await import('node:url')
  enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/sotto', import.meta.url)))
}

/** Runs the same command under the Node that "npm ci" brought along, as if that one had been called. */
async function runAgain() {
  const { spawn } = await import('node:child_process')
  const { existsSync } = await import('node:fs')
  const { fileURLToPath } = await import('node:url')
  const bundled = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
  if (!existsSync(bundled)) {
    console.error(
      `sotto: needs Node ${NODE_MIN} or newer, and this is ${process.version}. Run "npm ci" in its checkout.`,
    )
    process.exitCode = 1
    return
  }
  const child = spawn(bundled, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    console.error(`sotto: cannot start ${bundled}: ${error.message}`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? exitCodeOf(signal)
  })
}

/** What a shell reports for a process ended by this signal. */
function exitCodeOf(signal) {
  return 128 + ({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15, SIGKILL: 9 }[signal] ?? 0)
}
