import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EngineError } from '../error.ts'
import type { Device } from './sizes.ts'

/** What a user may ask for. */
export const DEVICES = ['auto', 'cpu', 'webgpu', 'cuda'] as const
export type DeviceWish = (typeof DEVICES)[number]

const REMEDIES: Readonly<Record<Exclude<Device, 'cpu'>, string>> = {
  webgpu: 'install the Vulkan driver of the graphics card (vulkaninfo must list it), or choose --device cpu',
  cuda: 'its libraries are not installed: run ONNXRUNTIME_NODE_INSTALL=cuda12 node node_modules/onnxruntime-node/script/install, or choose --device cpu',
}

const TRIAL_MS = 60_000

/**
 * Whether a provider opens and computes here, tried in a process of its own: drivers that fail may take their process with
 * them.
 */
function works(device: Device): Promise<boolean> {
  const script = fileURLToPath(new URL('trial.ts', import.meta.url))
  return new Promise((resolve) => {
    const trial = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, device], {
      stdio: 'ignore',
      timeout: TRIAL_MS,
    })
    trial.once('error', () => resolve(false))
    trial.once('exit', (code) => resolve(code === 0))
  })
}

/** Whether the libraries that CUDA needs lie beside the runtime; without them there is nothing to try. */
function hasCudaLibraries(): boolean {
  const root = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'))
  const folder = join(root, 'bin', 'napi-v6', process.platform, process.arch)
  return existsSync(join(folder, 'libonnxruntime_providers_cuda.so'))
}

async function isThere(device: Device): Promise<boolean> {
  if (device === 'cuda' && !hasCudaLibraries()) return false
  return device === 'cpu' || works(device)
}

/**
 * The device that a wish comes to here. `auto`: CUDA, else WebGPU, else the CPU, whichever works.
 * @throws EngineError `device_missing` where the one asked for does not work, saying what to install.
 */
export async function chooseDevice(wish: DeviceWish): Promise<Device> {
  if (wish === 'auto') {
    for (const device of ['cuda', 'webgpu'] as const) if (await isThere(device)) return device
    return 'cpu'
  }
  if (wish !== 'cpu' && !(await isThere(wish)))
    throw new EngineError('device_missing', `${wish} does not work here: ${REMEDIES[wish]}`)
  return wish
}
