import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { connect as connectTo } from '../client/index.ts'
import type { Run, RunRequest } from '../shared/api/index.ts'

/** What the demo asks of the public API, with the admin's token. */
export type Client = ReturnType<typeof connect>

export function connect(url: string, token: string, signal: AbortSignal) {
  const { api, answer, events, uploadModel } = connectTo({ url, token, signal })
  const { datasets, workers, runs } = api.v1
  return {
    events,
    uploadModel: (folder: string): Promise<string> =>
      uploadModel(modelFiles(folder), async (path) => new Uint8Array(await readFile(join(folder, path)))),
    createDataset: (dataset: {
      id: string
      units: number
      unit: 'record'
      budget: { epsilon: number; delta: number }
    }) => answer(datasets.$post({ json: dataset })),
    dataset: (id: string) => answer(datasets[':id'].$get({ param: { id } })),
    createWorker: (dataset: string) => answer(workers.$post({ json: { dataset } })),
    createRun: (json: RunRequest): Promise<Run> => answer(runs.$post({ json })),
    run: (id: string): Promise<Run> => answer(runs[':id'].$get({ param: { id } })),
    updates: (id: string, after: number) =>
      answer(runs[':id'].updates.$get({ param: { id }, query: { after: String(after) } })),
    download: async (at: string): Promise<Uint8Array> => {
      const response = await fetch(new URL(at, url), { signal })
      if (!response.ok) throw new Error(`the store answered ${response.status}`)
      return new Uint8Array(await response.arrayBuffer())
    },
  }
}

/** The files of a model folder, ascending by path, as a manifest lists them. */
export function modelFiles(folder: string): { path: string; sha256: string; bytes: number }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => {
      const content = readFileSync(file)
      const sha256 = createHash('sha256').update(content).digest('hex')
      return { path: relative(folder, file).replaceAll('\\', '/'), sha256, bytes: content.length }
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}
