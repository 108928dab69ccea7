import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { elementsOf, maskHash, type PrunedSpace } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { addWeighted, keptOf } from '../evaluate/weight-memory.ts'
import type { Graph } from '../graph/graph.ts'
import { dimsOf, floatsOf } from '../graph/tensor.ts'
import { partsOf, type TrainedAdapter } from './adapter.ts'
import type { NewValues } from './factors.ts'

/** The values of a weight that an adapter names. @throws EngineError */
function baseOf(graph: Graph, name: string): Float32Array {
  const constant = graph.constants.get(name)
  if (!constant) throw new EngineError('unknown_site', `the model has no weight ${name}: it is another model`)
  return floatsOf(constant)
}

/** Whole weights of a `full` adapter, with what its stages add, each sum rounded once as a worker rounds it. @throws EngineError */
export function mergedDeltas(graph: Graph, adapter: TrainedAdapter): NewValues {
  return new Map(
    [...partsOf(adapter, 'delta')].map(([name, stages]) => {
      const values = baseOf(graph, name)
      for (const { data } of stages) {
        if (data.length !== values.length)
          throw new EngineError('site_mismatch', `weight ${name} has another size in the model`)
        for (let i = 0; i < values.length; i++) values[i]! += data[i]!
      }
      return [name, values] as const
    }),
  )
}

/** Where the masks of a model lie in its folder. */
const MASKS = 'masks'

/** The mask of a hash. @throws EngineError `wrong_mask` */
function maskOf(modelDir: string, hash: string): Uint8Array {
  const folder = join(modelDir, MASKS)
  for (const file of existsSync(folder) ? readdirSync(folder) : []) {
    const bytes = new Uint8Array(readFileSync(join(folder, file)))
    if (maskHash(bytes) === hash) return bytes
  }
  throw new EngineError(
    'wrong_mask',
    `no file under ${MASKS}/ of the model has the hash ${hash}: a mask that workers made lies in their folders, copy it there`,
  )
}

/** Weights of a `pruned` adapter: what its stages add to the entries that their masks keep. @throws EngineError */
export function mergedKept(graph: Graph, modelDir: string, adapter: TrainedAdapter): NewValues {
  const masks = JSON.parse(adapter.metadata.masks ?? '[]') as string[]
  const weighted = JSON.parse(adapter.metadata.weighted ?? '[]') as boolean[]
  const parts = partsOf(adapter, 'values')
  const values: NewValues = new Map([...parts.keys()].map((name) => [name, baseOf(graph, name)]))
  masks.forEach((mask, stage) => {
    const names = [...parts.keys()]
    const added = names.map((name) => parts.get(name)!.find((part) => part.stage === stage)!.data)
    const space: PrunedSpace = {
      kind: 'pruned',
      tensors: names.map((name, i) => ({
        name,
        shape: dimsOf(graph.constants.get(name)!),
        kept: added[i]!.length,
      })),
      mask,
      ...(weighted[stage] ? { weighted: true } : {}),
    }
    const kept = keptOf(space, maskOf(modelDir, mask))
    names.forEach((name, i) => {
      const { indices, factors } = kept[i]!
      const ones = () => new Float32Array(elementsOf(space.tensors[i]!)).subarray(0, indices.length).fill(1)
      addWeighted(values.get(name)!, added[i]!, { indices, factors: factors ?? ones() })
    })
  })
  return values
}
