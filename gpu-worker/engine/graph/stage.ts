import { frozenFactor, type LoraSpace, siteOffsets } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { factorAttention } from './attention.ts'
import { CLASS_LOGITS, findDecoder } from './decoder.ts'
import { fold, type ProbedValue } from './fold.ts'
import type { Graph } from './graph.ts'
import { addLoss, POSITION } from './loss.ts'
import { mergeStage } from './merge.ts'
import { pruneToPosition } from './prune.ts'
import { addSideBranch, type FactorInput } from './side.ts'
import { findSites, type Site } from './sites.ts'
import { dependentTensors, type Halves, split } from './split.ts'

/** The sites of a space, found in a graph, in the order of the space. @throws EngineError `unknown_site`, `site_mismatch`. */
export function sitesOf(graph: Graph, space: LoraSpace): Site[] {
  const found = new Map(findSites(graph, findDecoder(graph).product.node).map((site) => [site.name, site]))
  return space.sites.map(({ name, inputs, outputs }) => {
    const site = found.get(name)
    if (!site) throw new EngineError('unknown_site', `the model has no site ${name}`)
    if (site.inputs !== inputs || site.outputs !== outputs)
      throw new EngineError('site_mismatch', `site ${name} is ${site.inputs} x ${site.outputs} in the model`)
    return site
  })
}

export interface RunSpace {
  readonly space: LoraSpace
  /** Public seed of the run. */
  readonly seed: string
}

/** The graph with finished stages merged into its constants, in order of stage. `graph` itself is left alone. */
export function mergedGraph(graph: Graph, { space, seed }: RunSpace, finished: readonly Float32Array[]): Graph {
  const merged = graph.clone()
  const offsets = siteOffsets(space)
  finished.forEach((factors, stage) => {
    sitesOf(merged, space).forEach((site, index) => {
      const { scale } = space.sites[index]!
      const start = offsets[index]!
      const factor = factors.subarray(start, start + site.inputs * space.rank)
      const signs = frozenFactor(seed, { stage, site: index }, space)
      mergeStage(merged, site, { factor, signs, rank: space.rank, scale }, `sotto.site${index}`)
    })
  })
  return merged
}

export interface StageGraphs extends Halves {
  readonly factors: readonly FactorInput[]
}

/**
 * Prefix and tail for one stage and one bucket.
 * @param graph decoder restricted and finished stages merged; left alone.
 * @param probed what the shape arithmetic of this bucket comes to.
 */
export function stageGraphs(
  graph: Graph,
  run: RunSpace & { stage: number },
  probed: ReadonlyMap<string, ProbedValue>,
): StageGraphs {
  const work = graph.clone()
  fold(work, probed)
  const sites = sitesOf(work, run.space)
  const outputs = sites.flatMap((site) => site.products.map((product) => product.node.output[0]!))
  const dependent = dependentTensors(work, outputs)
  const branches = sites.map((site, index) => {
    const signs = frozenFactor(run.seed, { stage: run.stage, site: index }, run.space)
    const frozen = { index, signs, rank: run.space.rank, scale: run.space.sites[index]!.scale }
    return addSideBranch(work, site, frozen, dependent.has(site.products[0]!.input))
  })
  const factors = branches.map(({ factor }) => factor)
  const classLogits = pruneToPosition(work, CLASS_LOGITS, { axis: 1, position: POSITION })
  addLoss(work, classLogits)
  factorAttention(
    work,
    branches.flatMap(({ sums }) => sums),
  )
  return { ...split(work, factors), factors }
}
