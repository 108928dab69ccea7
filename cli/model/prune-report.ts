import { elementsOf } from '../../shared/zo/index.ts'
import type { Prune } from './prune.ts'
import { bytes, columns, facts } from './report.ts'

const DECIMALS = 3

/** The answer in JSON: what a spec wants, and what makes the same mask again. */
export const pruneAnswer = ({ options, space, layers, slopes, verified, seconds }: Prune) => {
  const { score, keep, order, scope, weighted = false, tensors, seed, queries, radius, tokens, variant } = options
  const isForward = score === 'forward'
  return {
    space,
    made: {
      ...{ score, keep, order, scope, weighted, tensors: tensors?.source ?? null, variant: variant ?? null },
      seed: score === 'magnitude' ? null : seed,
      ...(isForward ? { queries, radius, tokens } : { queries: null, radius: null, tokens: null }),
    },
    layers,
    slopes: slopes ?? null,
    verified,
    seconds: Number(seconds.toFixed(DECIMALS)),
  }
}

const share = (kept: number, entries: number): string => `${((100 * kept) / entries).toPrecision(DECIMALS)} %`

const layerTable = (layers: Prune['layers']): string => {
  const rows = layers.map(({ layer, entries, kept }) => [
    layer === null ? 'no layer' : `layer ${layer}`,
    String(entries),
    String(kept),
    share(kept, entries),
  ])
  return columns([['', 'entries', 'kept', 'share'], ...rows])
}

const comparison = ({ verified }: Prune): string | undefined => {
  if (!verified) return undefined
  return verified.equal ? 'the same, bit for bit' : `another: ${verified.overlap} of its entries are the same`
}

/** A few lines and a table. */
export const pruneText = (prune: Prune): string => {
  const { options, space, layers, slopes, mask, seconds } = prune
  const { score, order, scope, keep, weighted } = options
  const entries = space.tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0)
  const kept = space.tensors.reduce((sum, tensor) => sum + tensor.kept, 0)
  const among = scope === 'global' ? 'of all entries together' : 'of each tensor'
  return `pruned by ${score}: the ${order} ${keep} ${among}${weighted ? ', weighted by rank' : ''}\n${facts([
    ['tensors', `${space.tensors.length}, ${entries} entries`],
    ['kept', `${kept}, ${share(kept, entries)}`],
    ['mask', `${space.mask}, ${bytes(mask.length)}`],
    ['verified', comparison(prune)],
    ['slopes', slopes && `${slopes.first.join(' ')} and ${slopes.second.join(' ')}`],
    ['seconds', seconds.toFixed(DECIMALS)],
  ])}\n${layerTable(layers)}`
}
