import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const read = (file: string) => readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8')

interface Lock {
  readonly packages: Record<
    string,
    { hasInstallScript?: boolean; resolved?: string; integrity?: string; link?: boolean }
  >
}

describe.each(['', 'infra/cluster/'])('what is installed by %spackage.json', (folder) => {
  const manifest = JSON.parse(read(`${folder}package.json`))
  const lock: Lock = JSON.parse(read(`${folder}package-lock.json`))
  const installed = Object.entries(lock.packages).filter(([path]) => path !== '')

  it('is named by exact versions, each runtime one with its reason', () => {
    const all = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }
    expect(Object.entries(all).filter(([, version]) => !/^\d/.test(String(version)))).toEqual([])
    const reasons = read('docs/dependencies.md')
    const runtime = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
    expect(runtime.filter((name) => !reasons.includes(`\`${name}\``))).toEqual([])
  })

  it('comes from the registry alone, each file by its SHA-512', () => {
    expect(installed.length).toBeGreaterThan(0)
    for (const [path, { resolved, integrity, link }] of installed) {
      if (link) continue
      // Left out, it is the registry.
      expect(resolved ?? 'https://registry.npmjs.org/', path).toMatch(/^https:\/\/registry\.npmjs\.org\//)
      expect(integrity, path).toMatch(/^sha512-/)
    }
  })

  it('runs no script of its own while it is installed', () => {
    const scripted = installed.filter(([, entry]) => entry.hasInstallScript)
    const names = scripted.map(([path]) => path.split('node_modules/').at(-1)!)
    expect(names.filter((name) => manifest.allowScripts?.[name] !== false)).toEqual([])
  })
})
