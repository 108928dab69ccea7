import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const folder = new URL('.', import.meta.url).pathname
const modelDir = new URL('../../demo/model/spam-encoder', import.meta.url).pathname

/** Notes the switch at the moment the native library is opened; `--import` puts it into every thread of the process. */
const SPY = `data:text/javascript,${encodeURIComponent(`
  import { isMainThread } from 'node:worker_threads'
  import { writeSync } from 'node:fs'
  const open = process.dlopen
  process.dlopen = (...call) => {
    if (String(call[1]).includes('onnxruntime'))
      writeSync(1, (isMainThread ? 'main ' : 'thread ') + process.env.ORT_DISABLE_TELEMETRY + ';')
    return open.apply(process, call)
  }`)}`

/** Runs a program in a fresh process without the switch in its environment. @returns what the spy noted. */
function noted(program: string, input = ''): string {
  const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env
  const flags = ['--disable-warning=ExperimentalWarning', '--import', SPY]
  const { stdout, status } = spawnSync('node', [...flags, ...program.split(' ')], { env, input, encoding: 'utf8' })
  expect(status).toBe(0)
  return stdout
}

describe('telemetry of the runtime', () => {
  it('is off before the library is opened', () => {
    expect(noted('--input-type=module -', `(await import('${folder}ort.ts')).loadRuntime()`)).toBe('main 1;')
  })

  it('is off before a thread opens the library', () => {
    const site = { name: 'head.transform', inputs: 128, outputs: 128, scale: 1 }
    const options = {
      modelDir,
      seed: '0123456789abcdef',
      space: { kind: 'lora', rank: 1, trained: 'factor', sites: [site] },
      task: {
        kind: 'prompt-classification',
        template: '{mask} : {text}',
        labels: { ham: 'work', spam: 'money' },
        maxTokens: 16,
        buckets: [16],
      },
    }
    const at = { center: Array(128).fill(0), round: 0, directions: 0, radius: 1, sides: 'one' }
    const input = JSON.stringify({ options, lines: [{ text: 'money', label: 'spam' }], at })
    expect(noted(`${folder}engine-process.ts`, input)).toMatch(/^thread 1;[0-9a-f]{8}$/)
  })

  it('has one door: nothing else imports the runtime as a value', () => {
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
      (file) => file.endsWith('.ts') && !file.endsWith('.test.ts'),
    )
    const loads = /^import (?!type )[^'\n]*'onnxruntime|import\('onnxruntime-node'\)$/m
    expect(sources.filter((file) => loads.test(readFileSync(join(folder, file), 'utf8')))).toEqual(['ort.ts'])
  })
})
