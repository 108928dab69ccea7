import { existsSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * A Vulkan driver for the tests of the WebGPU provider: the software driver that `.ci/vulkan` unpacked below the user's
 * cache, else one of the system. The variables must be set before a process starts.
 */
export function vulkanEnvironment(): NodeJS.ProcessEnv | undefined {
  const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'sotto-vulkan')
  const icd = join(folder, 'icd.json')
  if (existsSync(icd)) {
    const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu'].map((path) => join(folder, path))
    return { VK_ICD_FILENAMES: icd, LD_LIBRARY_PATH: libraries.filter(existsSync).join(':') }
  }
  const system = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d'].filter(existsSync)
  return system.some((path) => readdirSync(path).length > 0) ? {} : undefined
}
