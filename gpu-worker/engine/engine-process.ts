import { readFileSync } from 'node:fs'
import { openEngine } from './index.ts'

/**
 * Run as a process of its own by tests: opens an engine from the options on standard input, evaluates the lines around a
 * point, and prints the bytes of the losses in hexadecimal.
 */
const { options, lines, at } = JSON.parse(readFileSync(0, 'utf8'))
const engine = await openEngine(options)
const losses = await engine.losses(lines.map(engine.encode), { ...at, center: Float32Array.from(at.center) })
process.stdout.write(Buffer.from(losses.buffer).toString('hex'))
await engine.close()
