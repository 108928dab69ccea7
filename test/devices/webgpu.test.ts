import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { vulkanEnvironment } from '../tooling/vulkan.ts'

interface RoundOn {
  readonly losses: number[][]
  readonly leads: string[]
  readonly hash: string
}

const environment = vulkanEnvironment()
const skipped = environment ? '' : ' (skipped: no Vulkan driver; .ci/vulkan fetches one)'

describe.skipIf(!environment)(`WebGPU, on whatever Vulkan driver there is${skipped}`, () => {
  const names = ['bert-masked-optimum-14', 'llama-causal-dynamo-23']
  const child = (script: string, args: readonly string[]): string =>
    execFileSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', fileURLToPath(new URL(script, import.meta.url)), ...args],
      {
        encoding: 'utf8',
        env: { ...process.env, ...environment },
        stdio: ['ignore', 'pipe', 'ignore'],
        maxBuffer: 2 ** 26,
      },
    )

  it('works', () => {
    child('../../gpu-worker/engine/device/trial.ts', ['webgpu'])
  })

  it('has the losses and differences of the CPU in every space, and the same bits of state', () => {
    const results: { model: string; name: string; cpu: RoundOn; webgpu: RoundOn }[] = JSON.parse(
      child('round-on.ts', names),
    )
    expect(results).toHaveLength(4 * names.length + 1)
    for (const { model, name, cpu, webgpu } of results) {
      const label = `${model}, ${name}`
      // Weights of half precision are other weights, rounded to 11 bits; everything is computed in single precision.
      const [lossError, differenceError] = model === 'float16' ? [1e-2, 2e-2] : [1e-4, 1e-3]
      expect(webgpu.hash, label).toBe(cpu.hash)
      expect(webgpu.leads, label).toEqual(cpu.leads)
      cpu.losses.forEach((losses, round) => {
        const other = webgpu.losses[round]!
        const differences = (values: number[]) => values.flatMap((loss, i) => (i % 2 ? [] : [loss - values[i + 1]!]))
        losses.forEach((loss, i) => {
          expect(Math.abs(other[i]! - loss), label).toBeLessThanOrEqual(lossError * Math.max(1, Math.abs(loss)))
        })
        const [ours, theirs] = [differences(losses), differences(other)]
        const size = Math.sqrt(ours.reduce((sum, value) => sum + value * value, 0) / ours.length)
        const gaps = ours.map((value, i) => theirs[i]! - value)
        const error = Math.sqrt(gaps.reduce((sum, gap) => sum + gap * gap, 0) / gaps.length)
        expect(error, label).toBeLessThanOrEqual(differenceError * size)
      })
    }
  }, 600_000)
})
