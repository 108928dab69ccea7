import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { modelFiles } from '../cli/model/push.ts'
import { connect as connectTo } from '../client/index.ts'
import type { Run, RunRequest } from '../shared/api/index.ts'

/** What the demo asks of the public API, with the admin's token. */
export type Client = ReturnType<typeof connect>

export function connect(url: string, token: string, signal: AbortSignal) {
  const { api, answer, events, uploadModel } = connectTo({ url, token, signal })
  const { datasets, workers, runs } = api.v1
  return {
    events,
    uploadModel: async (folder: string): Promise<string> =>
      await uploadModel(await modelFiles(folder), async (path) => new Uint8Array(await readFile(join(folder, path)))),
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
