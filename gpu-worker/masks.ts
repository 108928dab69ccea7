import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { maskHash, type Space } from '../shared/zo/index.ts'
import { EngineError } from './engine/index.ts'

/** Where the masks of a model lie in its folder: files of the model like any other, named by the hash of what they hold. */
export const MASKS = 'masks'

/**
 * Bitsets of pruned spaces, found among the files of the model by the hash that each space names.
 * @throws EngineError `wrong_mask` where one is not there
 */
export function readMasks(modelDir: string, spaces: readonly Space[]): (Uint8Array | undefined)[] {
  const folder = join(modelDir, MASKS)
  const entries = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : []
  const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name)
  const found = new Map<string, Uint8Array>()
  const wanted = new Set(spaces.flatMap((space) => (space.kind === 'pruned' ? [space.mask] : [])))
  for (const file of wanted.size > 0 ? files : []) {
    const bytes = new Uint8Array(readFileSync(join(folder, file)))
    const hash = maskHash(bytes)
    if (wanted.has(hash)) found.set(hash, bytes)
  }
  return spaces.map((space) => {
    if (space.kind !== 'pruned') return undefined
    const mask = found.get(space.mask)
    if (!mask)
      throw new EngineError('wrong_mask', `no file under ${MASKS}/ of the model has the hash that the space names`)
    return mask
  })
}
