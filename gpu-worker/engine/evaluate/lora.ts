import { basisSigns, frozenFactor, type LoraSpace, segmentLengths, segmentOffsets } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import type { Graph } from '../graph/graph.ts'
import { matrixOf } from '../graph/products.ts'
import type { EarlierFactor, Frozen } from '../graph/side.ts'
import type { Site } from '../graph/sites.ts'
import type { Lead } from '../graph/split.ts'
import { sitesOf } from '../graph/stage.ts'
import { mergeProduct } from '../kernels/index.ts'
import { type Bases, coreFactor, seededBases, singularBases } from './bases.ts'
import { Bucket } from './bucket.ts'
import { blocks, byKey, mostMembers, ranges } from './chunks.ts'
import { type BucketLead, type Groups, leadOf, type SpaceDriver } from './driver.ts'
import { layOut } from './factors.ts'
import type { Feeds } from './feeds.ts'
import { filledUp } from './filled.ts'
import type { Model } from './model.ts'
import { PerturbedVectors } from './perturbed.ts'
import { PrefixCache } from './prefix-cache.ts'
import { type EncodedRecord, type FinishedStage, type Output, valuesPerGroup } from './setup.ts'
import { Shelf } from './shelf.ts'

/** Records whose boundaries are held while the groups pass over them: each block makes the perturbed factors again. */
const BLOCK = 16
/** A call of groups with fewer tokens than this is too small to be efficient; records are put together instead. */
const FEW_TOKENS = 256

interface Placed {
  readonly item: EncodedRecord
  readonly index: number
}

/**
 * The `lora` space: factors beside frozen weights. With many groups every call of the runtime sees ONE record, so that a
 * record's losses cannot depend on its batch mates: not by a test alone, but because they never meet. With few groups calls
 * hold several records, in a fixed shape.
 */
export class LoraDriver implements SpaceDriver {
  readonly #model: Model
  readonly #space: LoraSpace
  readonly #cache: PrefixCache
  readonly #vectors: PerturbedVectors
  readonly #shelf: Shelf
  /** Bases by rank, and where they are seeded by stage. */
  readonly #bases = new Map<string, SiteBases>()
  #stage = 0
  /** By site: whether a product's weights stay as they are, so that finished stages go beside them. */
  readonly #keeps: readonly boolean[]
  #merged: Graph
  #frozen: readonly Frozen[]

  /** @throws EngineError where the space does not fit the model. */
  constructor(model: Model, space: LoraSpace) {
    this.#model = model
    this.#space = space
    this.#cache = new PrefixCache(model.setup.cacheBytes)
    this.#shelf = new Shelf(model.setup.limits.buckets)
    this.#vectors = new PerturbedVectors({ seed: model.setup.seed, space })
    this.#merged = model.graph
    const sites = sitesOf(model.graph, space)
    this.#keeps = sites.map(({ products }) => products.some(({ stays }) => stays))
    this.#frozen = this.#frozenAt(0, [])
  }

  async setStage(stage: number, finished: readonly FinishedStage[]): Promise<void> {
    await this.release()
    // Sessions of the stage before are closed: nothing reads its merged weights any more.
    this.#model.release()
    this.#merged = finished.length === 0 ? this.#model.graph : this.#mergedGraph(finished)
    this.#stage = stage
    this.#frozen = this.#frozenAt(stage, finished)
  }

  async run(records: readonly EncodedRecord[], groups: Groups, output: Output): Promise<Float32Array> {
    const width = valuesPerGroup(this.#model.setup.outputs, output)
    const values = new Float32Array(records.length * groups.count * width)
    const put = (index: number, group: number, part: Float32Array): void => {
      values.set(part, (index * groups.count + group) * width)
    }
    for (const [tokens, placed] of byKey(records, ({ bucket }) => bucket)) {
      const bucket = await this.#bucket(tokens, groups.count)
      const call = { bucket, groups, output, width, put }
      if (bucket.graphs.lead === 'groups') await this.#runGroups(placed, call)
      else await this.#runRecords(placed, call)
    }
    return values
  }

  async leads(): Promise<BucketLead[]> {
    return (await this.#shelf.all()).map(leadOf)
  }

  async release(): Promise<void> {
    this.#cache.clear()
    await this.#shelf.clear()
  }

  /** One record a call, the groups along its leading axis. */
  async #runGroups(placed: readonly Placed[], call: Call): Promise<void> {
    const { bucket, groups, output, width } = call
    const most = mostMembers(bucket.graphs.member, this.#model.setup.limits.call)
    for (const block of blocks(placed, BLOCK)) {
      const boundaries: Feeds[] = []
      for (const { item } of block) boundaries.push({ ...(await bucket.boundary(item)) })
      for (const { from, to } of ranges(groups.count, most)) {
        const factors = this.#factors(bucket, this.#vectors.of(groups, { from, to }))
        for (const [at, { item, index }] of block.entries()) {
          const repeated = Array.from({ length: to - from }, () => item)
          const steering = bucket.steering(repeated)
          const made = await bucket.run({ ...boundaries[at], ...factors, ...steering }, output, (to - from) * width)
          for (let g = from; g < to; g++) call.put(index, g, made.subarray((g - from) * width, (g - from + 1) * width))
        }
      }
    }
  }

  /** One group a call, records along its leading axis in a fixed number; the last call is filled up. */
  async #runRecords(placed: readonly Placed[], call: Call): Promise<void> {
    const { bucket, groups, output, width } = call
    const isSingle = bucket.graphs.lead === 'single'
    const members = isSingle ? 1 : mostMembers(bucket.graphs.member, this.#model.setup.limits.call)
    const chunks = []
    for (const chunk of blocks(placed, members)) {
      const filled = filledUp(
        chunk.map(({ item }) => item),
        members,
      )
      chunks.push({ chunk, feeds: { ...(await bucket.boundaries(filled)), ...bucket.steering(filled) } })
    }
    for (let g = 0; g < groups.count; g++) {
      const factors = this.#factors(bucket, this.#vectors.of(groups, { from: g, to: g + 1 }))
      for (const { chunk, feeds } of chunks) {
        const made = await bucket.run({ ...feeds, ...factors }, output, members * width)
        for (const [at, { index }] of chunk.entries()) call.put(index, g, made.subarray(at * width, (at + 1) * width))
      }
    }
  }

  #factors(bucket: Bucket, vectors: readonly Float32Array[]): Feeds {
    const { runtime } = this.#model
    const laid = layOut(bucket.graphs.factors, this.#space, vectors, this.#basesOf(this.#space, this.#stage)?.left)
    return Object.fromEntries(
      laid.map(({ name, values, dims }) => [name, new runtime.Tensor('float32', values, dims)] as const),
    )
  }

  /** The bucket in the lead that suits so many groups; where the graph allows none of them, one by one. */
  #bucket(tokens: number, groups: number): Promise<Bucket> {
    const lead: Lead = groups * tokens >= FEW_TOKENS ? 'groups' : 'records'
    return this.#shelf.take(`${tokens}/${lead}`, () => this.#open(tokens, lead))
  }

  async #open(tokens: number, lead: Lead): Promise<Bucket> {
    const trained = { kind: 'factors', space: this.#space, frozen: this.#frozen } as const
    return Bucket.open(this.#model, this.#merged, { trained, lead, bucket: tokens }, this.#cache)
  }

  /** The factor beside the trained one, of each site; where weights stay as they are, earlier stages too. */
  #frozenAt(stage: number, finished: readonly FinishedStage[]): Frozen[] {
    return this.#space.sites.map(({ scale }, index) => {
      const beside = this.#keeps[index] ? finished : []
      const earlier = beside.map((each, at) => this.#earlier(each, at, index))
      return { index, values: this.#right(this.#space, stage, index), rank: this.#space.rank, scale, earlier }
    })
  }

  /** The frozen factor [rank, outputs] of one site. */
  #right(space: LoraSpace, stage: number, site: number): ArrayLike<number> {
    const { seed } = this.#model.setup
    return this.#basesOf(space, stage)?.right[site] ?? frozenFactor(seed, { stage, site }, space)
  }

  /** What a finished stage left at one site. */
  #earlier({ space, trained }: FinishedStage, stage: number, site: number): EarlierFactor {
    if (space.kind !== 'lora') throw new EngineError('site_mismatch', 'all stages of a run train in one kind of space')
    const offset = segmentOffsets(space)[site]!
    const part = trained.subarray(offset, offset + segmentLengths(space)[site]!)
    const basis = this.#basesOf(space, stage)?.left[site]
    return {
      factor: basis ? coreFactor(basis, part, space.rank) : part,
      values: this.#right(space, stage, site),
      rank: space.rank,
      scale: space.sites[site]!.scale,
    }
  }

  /** The bases between which the cores of a stage are trained, made once. */
  #basesOf(space: LoraSpace, stage: number): SiteBases | undefined {
    if (space.trained === 'factor') return undefined
    const isSeeded = space.bases === 'seeded'
    const key = isSeeded ? `${space.rank}@${stage}` : `${space.rank}`
    const known = this.#bases.get(key)
    if (known) return known
    const { seed } = this.#model.setup
    const bases = isSeeded
      ? bySite(space.sites.map((_, site) => seededBases(basisSigns(seed, { stage, site }, space), space.rank)))
      : singularBasesOf(sitesOf(this.#model.graph, space), space)
    this.#bases.set(key, bases)
    return bases
  }

  /** The graph with finished stages merged into the weights that do not stay as they are, in order of stage. */
  #mergedGraph(finished: readonly FinishedStage[]): Graph {
    const merged = this.#model.graph.clone()
    sitesOf(merged, this.#space).forEach((site, index) => {
      const stages = finished.map((each, stage) => this.#earlier(each, stage, index))
      let from = 0
      site.products.forEach((product, part) => {
        const { inputs, outputs } = product
        if (!product.stays) {
          const weight = matrixOf(product)
          for (const { factor, values, rank, scale } of stages) {
            const right = values as Int8Array | Float32Array
            mergeProduct(weight, outputs, { left: factor, right, rank, scale, columns: site.outputs, from })
          }
          const name = `sotto.site${index}.${part}.merged`
          setWeight(merged, site, part, merged.addFloats(name, [inputs, outputs], weight))
        }
        from += outputs
      })
    })
    return this.#model.keepOnDisk(merged)
  }
}

interface Call {
  readonly bucket: Bucket
  readonly groups: Groups
  readonly output: Output
  readonly width: number
  put(index: number, group: number, part: Float32Array): void
}

/** Lets a product read another matrix, [inputs, outputs] as it stands. */
function setWeight(graph: Graph, site: Site, part: number, name: string): void {
  const { node } = site.products[part]!
  node.input[1] = name
  if (node.opType === 'Gemm') node.attribute = node.attribute.filter((attribute) => attribute.name !== 'transB')
  graph.tidy()
}

/** By site. */
interface SiteBases {
  readonly left: readonly Float32Array[]
  readonly right: readonly Float32Array[]
}

function singularBasesOf(sites: readonly Site[], space: LoraSpace): SiteBases {
  const bases = sites.map((site) => {
    if (!site.products.every(({ isFloat }) => isFloat))
      throw new EngineError('site_mismatch', `site ${site.name} is quantised and has no singular bases: train a factor`)
    return singularBases(site.products.map(matrixOf), { inputs: site.inputs, rank: space.rank })
  })
  return bySite(bases)
}

const bySite = (bases: readonly Bases[]): SiteBases => ({
  left: bases.map(({ left }) => left),
  right: bases.map(({ right }) => right),
})
