import { readFileSync } from 'node:fs'
import { openEngine } from './index.ts'

/**
 * Run as a process of its own by tests: opens an engine from the options on standard input, evaluates the texts under
 * the factors, and prints the bytes of the losses in hexadecimal.
 */
const { options, texts, labels, groups } = JSON.parse(readFileSync(0, 'utf8'))
const engine = await openEngine(options)
const records = texts.map((text: string, n: number) => ({ encoded: engine.encode(text), label: labels[n] }))
const losses = await engine.losses(
  records,
  groups.map((group: number[]) => Float32Array.from(group)),
)
process.stdout.write(Buffer.from(losses.buffer).toString('hex'))
await engine.close()
