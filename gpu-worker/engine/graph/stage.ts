import type { LoraSpace, WeightTensor } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { regularise } from '../normalise/index.ts'
import { TensorProto_DataType as DataType, type TensorProto } from '../onnx/onnx_pb.ts'
import { factorAttention } from './attention.ts'
import { fold, type ProbedValue } from './fold.ts'
import { joinBiases } from './gemm.ts'
import type { Graph } from './graph.ts'
import { CLASS_LOGITS, findHead, findPooling, type Pooling } from './head.ts'
import { addLoss, POSITIONS, SELECTION } from './loss.ts'
import { pruneToPositions, type Selector } from './prune.ts'
import { addSideBranch, type FactorInput, type Frozen, type SideSum } from './side.ts'
import { findSites, type Site } from './sites.ts'
import { dependentTensors, type Halves, type Lead, split, type TrainedInput, valueInfo } from './split.ts'
import { dimsOf } from './tensor.ts'

/** The sites of a space, found in a graph, in the order of the space. @throws EngineError `unknown_site`, `site_mismatch`. */
export function sitesOf(graph: Graph, space: LoraSpace): Site[] {
  const found = new Map(findSites(graph, findHead(graph)?.product.node).map((site) => [site.name, site]))
  return space.sites.map(({ name, inputs, outputs }) => {
    const site = found.get(name)
    if (!site) throw new EngineError('unknown_site', `the model has no site ${name}: see "sotto model check"`)
    if (site.inputs !== inputs || site.outputs !== outputs)
      throw new EngineError('site_mismatch', `site ${name} is ${site.inputs} x ${site.outputs} in the model`)
    return site
  })
}

/** What is trained, as a stage's graph holds it. */
export type Trained =
  /** Factors beside frozen weights; `frozen` in the order of the space. */
  | { readonly kind: 'factors'; readonly space: LoraSpace; readonly frozen: readonly Frozen[] }
  /** Weights that are inputs of the tail. */
  | { readonly kind: 'weights'; readonly tensors: readonly WeightTensor[] }

/** Sizes of a bucket's graphs. */
export interface BucketSize {
  /** T: tokens of a padded record. */
  readonly tokens: number
  /** P: positions whose logits count. */
  readonly positions: number
}

export interface StageGraphs extends Halves {
  readonly lead: Lead
  readonly size: BucketSize
  /** Inputs of the tail that hold factors; none where weights are trained. */
  readonly factors: readonly FactorInput[]
  readonly trained: readonly TrainedInput[]
}

/** Positions by index: any axis of any tensor of one record. */
const byIndex = (count: number, positions: string): Selector => ({
  count,
  canTake: () => true,
  take: (graph, tensor, { axis, ...made }) =>
    graph.add('Gather', [tensor, positions], { ...made, attributes: { axis } }),
})

const MAKES_NO_FLOATS = new Set([
  'Cast',
  'Equal',
  'Not',
  'And',
  'Or',
  'Greater',
  'GreaterOrEqual',
  'Less',
  'LessOrEqual',
])

/**
 * Positions that differ from record to record: a product with rows of the unit matrix [N, P, T], which is exact, on the token
 * axis of numbers [N, T, width].
 */
function rowsOfUnit(graph: Graph, { tokens, positions: count }: BucketSize, selection: string): Selector {
  const producers = graph.producers()
  return {
    count,
    canTake: (tensor, dims, axis) => {
      const isFloat = !MAKES_NO_FLOATS.has(producers.get(tensor)?.opType ?? 'Cast')
      return isFloat && dims.length === 3 && axis === 1 && dims[1] === tokens
    },
    take: (work, tensor, { axis: _, ...made }) => work.add('MatMul', [selection, tensor], made),
  }
}

/** Prunes a classifier to the one position that it reads. */
function prunePooled(graph: Graph, { node, tensor, axis, position }: Pooling, { tokens }: BucketSize): void {
  const target = { tensor, axis, reader: node }
  if (typeof position === 'number') {
    const taken = pruneToPositions(graph, target, byIndex(1, graph.addInts('sotto.pooled_position', [position])))
    node.input = [taken, graph.addInts('sotto.first', [0], dimsOf(graph.constants.get(node.input[1]!)!))]
  } else {
    node.input = [pruneToPositions(graph, target, rowsOfUnit(graph, { tokens, positions: 1 }, position))]
    node.opType = 'Identity'
  }
  graph.tidy()
}

/** Prunes to the positions that count. @returns the logits [N, P, C]. */
function prunedLogits(graph: Graph, lead: Lead, size: BucketSize): string {
  const pooling = size.positions === 1 ? findPooling(graph, size.tokens) : undefined
  if (pooling) prunePooled(graph, pooling, size)
  const [, rows] = graph.dimsOf(CLASS_LOGITS) as [number, number, number]
  graph.dims.set(POSITIONS, [size.positions])
  graph.dims.set(SELECTION, [1, size.positions, size.tokens])
  // A classifier has one row of logits already.
  if (rows === 1) return CLASS_LOGITS
  const selector = lead === 'records' ? rowsOfUnit(graph, size, SELECTION) : byIndex(size.positions, POSITIONS)
  return pruneToPositions(graph, { tensor: CLASS_LOGITS, axis: 1 }, selector)
}

interface Rewritten {
  readonly names: readonly string[]
  readonly factors: readonly FactorInput[]
  readonly sums: readonly SideSum[]
}

/** Side branches at the sites of a lora space. */
function withFactors(graph: Graph, trained: Extract<Trained, { kind: 'factors' }>, lead: Lead): Rewritten {
  const sites = sitesOf(graph, trained.space)
  const outputs = sites.flatMap((site) => site.products.map((product) => product.node.output[0]!))
  const dependent = dependentTensors(graph, outputs)
  const branches = sites.map((site, index) => {
    const stacked = dependent.has(site.products[0]!.input) ? 'stacked' : 'wide'
    return addSideBranch(graph, site, trained.frozen[index]!, lead === 'groups' ? stacked : 'plain')
  })
  const factors = branches.map(({ factor }) => factor)
  return { factors, names: factors.map(({ name }) => name), sums: branches.flatMap(({ sums }) => sums) }
}

/** The name under which a trained weight is an input: the runtime wants other names for inputs than for constants. */
export const weightInput = (name: string): string => `sotto.weight.${name}`

/** The constant that holds a trained weight. @throws EngineError `unknown_site`, `site_mismatch` */
export function weightOf(graph: Graph, { name, shape }: WeightTensor): TensorProto {
  const constant = graph.constants.get(name)
  if (!constant) throw new EngineError('unknown_site', `the model has no weight ${name}: see "sotto model check"`)
  const dims = dimsOf(constant)
  if (dims.join() !== shape.join())
    throw new EngineError('site_mismatch', `weight ${name} is [${dims.join(', ')}] in the model`)
  return constant
}

/** Trained weights as inputs. @throws EngineError `unknown_site`, `site_mismatch` */
function withWeights(graph: Graph, tensors: readonly WeightTensor[]): Rewritten {
  const names = tensors.map((tensor) => {
    const { name } = tensor
    const dims = dimsOf(weightOf(graph, tensor))
    const input = weightInput(name)
    graph.constants.delete(name)
    graph.redirect(name, input)
    graph.dims.set(input, dims)
    graph.inputs.push(valueInfo(input, DataType.FLOAT, dims))
    return input
  })
  return { names, factors: [], sums: [] }
}

function factorInfo(graph: Graph, { name, layout }: FactorInput): TrainedInput {
  const dims = graph.dimsOf(name)
  if (layout === 'plain') return { name, dims }
  return { name, dims: layout === 'wide' ? [dims[0]!, 'groups_rank'] : ['groups', dims[1]!, dims[2]!] }
}

/**
 * Prefix and tail for one stage and one bucket.
 * @param graph head restricted and finished stages merged; left alone.
 * @param probed what the shape arithmetic of this bucket comes to.
 * @throws EngineError `unknown_site`, `site_mismatch`; `unsupported_graph` where the graph can not run in this lead.
 */
export function stageGraphs(
  graph: Graph,
  made: { trained: Trained; lead: Lead; size: BucketSize },
  probed: ReadonlyMap<string, ProbedValue>,
): StageGraphs {
  const { trained, lead, size } = made
  const work = graph.clone()
  fold(work, probed)
  regularise(work)
  const { names, factors, sums } =
    trained.kind === 'factors' ? withFactors(work, trained, lead) : withWeights(work, trained.tensors)
  work.tidy()
  addLoss(work, prunedLogits(work, lead, size))
  work.tidy()
  if (lead === 'groups') factorAttention(work, sums)
  const inputs = trained.kind === 'factors' ? factors.map((factor) => factorInfo(work, factor)) : namedDims(work, names)
  const halves = split(work, names, lead)
  const matrices = new Set(trained.kind === 'weights' ? names : [])
  for (const half of [halves.prefix, halves.tail]) joinBiases(half, matrices)
  return { ...halves, lead, size, factors, trained: inputs }
}

function namedDims(graph: Graph, names: readonly string[]): TrainedInput[] {
  return names.map((name) => ({ name, dims: graph.dimsOf(name) }))
}
