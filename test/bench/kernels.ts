import {
  KernelMemory,
  lowRankBytes,
  lowRankRoom,
  mergeProduct as mergeFast,
  perturbKept,
  perturbLowRank,
  perturbPair,
  perturbSegment,
  VectorKernels,
  wasmKernels,
} from '../../gpu-worker/engine/kernels/index.ts'
import {
  direction,
  type FullSpace,
  type LoraSpace,
  type LowRankProduct,
  mergeProduct,
  perturb,
  portableKernels,
  spaceDimension,
} from '../../shared/zo/index.ts'
import { median } from './median.ts'

/** A weight of 4 M entries: more than a core's own caches hold, as the weights of a model are. */
const [ROWS, COLUMNS] = [2048, 2048]
const WEIGHTS = ROWS * COLUMNS
const TURNS = 5
const RANK = 4
const DIRECTIONS = 8
const SEED = '0123456789abcdef'
const AT = { seed: SEED, round: 1, k: 2, segment: 0 }
const STEP = Math.fround(0.01)

const space = (directions: FullSpace['directions']): FullSpace => ({
  kind: 'full',
  directions,
  tensors: [{ name: 'w', shape: [ROWS, COLUMNS] }],
})
const DENSE = space({ kind: 'dense' })
const NUMBERS: FullSpace = { ...DENSE, distribution: 'binomial' }
const LOW_RANK = space({ kind: 'low-rank', rank: RANK })

/** Everything in one memory, as the engine holds it. */
function vectors() {
  const tensors = LOW_RANK.tensors
  const memory = new KernelMemory(4 * 4 * WEIGHTS + 4 * (WEIGHTS / 2) + lowRankBytes(tensors, RANK))
  const [center, plus, minus] = [memory.floats(WEIGHTS), memory.floats(WEIGHTS), memory.floats(WEIGHTS)]
  center.forEach((_, i) => {
    center[i] = Math.sin(i)
  })
  const kept = memory.indices(Uint32Array.from({ length: WEIGHTS / 2 }, (_, i) => 2 * i))
  return { memory, center, plus, minus, kept, room: lowRankRoom(memory, tensors, RANK) }
}

interface Case {
  readonly name: string
  /** What a nanosecond is counted for. */
  readonly count: number
  readonly plain: () => void
  readonly fast: () => void
}

function perturbations(): Case[] {
  const { memory, center, plus, minus, kept, room } = vectors()
  const low = { ...AT, tensor: LOW_RANK.tensors[0]!, rank: RANK }
  const half = center.slice(0, WEIGHTS / 2)
  const sparse: FullSpace = { ...DENSE, tensors: [{ name: 'w', shape: [WEIGHTS / 2] }] }
  const vector = new VectorKernels({ seed: SEED, space: DENSE })
  const numbers = new VectorKernels({ seed: SEED, space: NUMBERS })
  let turn = 0
  return [
    {
      name: 'memory pass, out <- a + b',
      count: WEIGHTS,
      plain: () => {
        for (let i = 0; i < WEIGHTS; i++) plus[i] = center[i]! + minus[i]!
      },
      fast: () => memory.run.add(plus.byteOffset, center.byteOffset, minus.byteOffset, WEIGHTS),
    },
    {
      name: 'direction as bytes',
      count: WEIGHTS,
      plain: () => direction(SEED, AT, DENSE),
      // Another one each time: the last is kept.
      fast: () => vector.direction({ ...AT, k: turn++ }),
    },
    {
      name: 'direction of binomial numbers',
      count: WEIGHTS,
      plain: () => direction(SEED, AT, NUMBERS),
      fast: () => numbers.direction({ ...AT, k: turn++ }),
    },
    {
      name: 'perturbation in place',
      count: WEIGHTS,
      plain: () => perturb(center, direction(SEED, AT, DENSE), STEP),
      fast: () => perturbSegment(memory, { out: plus, center: plus }, AT, STEP),
    },
    {
      name: 'perturbation to a second vector',
      count: WEIGHTS,
      plain: () => perturb(center, direction(SEED, AT, DENSE), STEP),
      fast: () => perturbSegment(memory, { out: plus, center }, AT, STEP),
    },
    {
      name: 'both sides',
      count: WEIGHTS,
      plain: () => {
        const z = direction(SEED, AT, DENSE)
        perturb(center, z, STEP)
        perturb(center, z, -STEP)
      },
      fast: () => perturbPair(memory, { plus, minus, center }, AT, STEP),
    },
    {
      name: 'kept entries, every second',
      count: WEIGHTS / 2,
      plain: () => perturb(half, direction(SEED, AT, sparse), STEP),
      fast: () => perturbKept(memory, { out: plus, center, kept }, AT, STEP),
    },
    {
      name: `perturbation of rank ${RANK}`,
      count: WEIGHTS,
      plain: () => perturb(center, direction(SEED, AT, LOW_RANK), STEP),
      fast: () => perturbLowRank(memory, { out: plus, center, room }, low, STEP),
    },
  ]
}

function updates(): Case[] {
  const current = Float32Array.from({ length: WEIGHTS }, (_, i) => Math.cos(i))
  const update = {
    round: 1,
    coefficients: Array.from({ length: DIRECTIONS }, (_, k) => (k - 3) / 7),
    learningRate: 0.1,
    prox: 0.2,
  }
  const product: LowRankProduct = {
    left: current.slice(0, ROWS * RANK),
    right: direction(SEED, AT, { ...DENSE, tensors: [{ name: 'v', shape: [RANK, COLUMNS] }] }),
    rank: RANK,
    scale: 0.5,
    columns: COLUMNS,
    from: 0,
  }
  const bytes = [new Uint8Array(current.buffer)]
  const updated = (name: string, of: FullSpace): Case => ({
    name,
    count: WEIGHTS * DIRECTIONS,
    plain: () => portableKernels.update(current, update, { seed: SEED, space: of }),
    fast: () => wasmKernels.update(current, update, { seed: SEED, space: of }),
  })
  return [
    updated(`update, for each of ${DIRECTIONS} directions`, DENSE),
    updated(`update along numbers, for each of ${DIRECTIONS}`, NUMBERS),
    updated(`update of rank ${RANK}, for each of ${DIRECTIONS}`, LOW_RANK),
    {
      name: `merge of rank ${RANK}`,
      count: WEIGHTS,
      plain: () => mergeProduct(current, COLUMNS, product),
      fast: () => mergeFast(current, COLUMNS, product),
    },
    {
      name: 'SHA-256 of a vector',
      count: WEIGHTS,
      plain: () => portableKernels.digest(bytes),
      fast: () => wasmKernels.digest(bytes),
    },
  ]
}

/** Perturbed factors of a space of MiniLM's size. */
function factors(): Case {
  const layer = [
    { name: 'qkv', inputs: 384, outputs: 1152, scale: 1 },
    { name: 'output', inputs: 384, outputs: 384, scale: 1 },
    { name: 'up', inputs: 384, outputs: 1536, scale: 1 },
    { name: 'down', inputs: 1536, outputs: 384, scale: 1 },
  ]
  const sites = [0, 1, 2, 3, 4, 5].flatMap((at) => layer.map((site) => ({ ...site, name: `${at}.${site.name}` })))
  const lora: LoraSpace = { kind: 'lora', rank: 1, trained: 'factor', sites }
  const center = new Float32Array(spaceDimension(lora))
  const vector = new VectorKernels({ seed: SEED, space: lora })
  return {
    name: `factors of rank 1, ${sites.length} sites`,
    count: center.length,
    plain: () => perturb(center, direction(SEED, AT, lora), STEP),
    fast: () => vector.perturb(center, AT, { radius: STEP, sign: 1 }),
  }
}

/** Nanoseconds of CPU time for each of `count`; small cases are repeated until a turn can be timed. */
function nanoseconds(action: () => void, count: number): number {
  const repeats = Math.max(1, Math.ceil(WEIGHTS / count / 2))
  const before = process.cpuUsage()
  for (let i = 0; i < repeats; i++) action()
  const { user, system } = process.cpuUsage(before)
  return (1000 * (user + system)) / repeats / count
}

function measured({ name, count, plain, fast }: Case): void {
  plain()
  fast()
  const turns = Array.from({ length: TURNS }, () => [nanoseconds(plain, count), nanoseconds(fast, count)] as const)
  const [slow, quick] = [median(turns.map(([ns]) => ns)), median(turns.map(([, ns]) => ns))]
  console.log(`| ${name} | ${slow.toFixed(2)} | ${quick.toFixed(2)} | ${(slow / quick).toFixed(1)} |`)
}

/** Nanoseconds a weight of every kernel, in plain TypeScript and in WebAssembly. */
export function kernels(): void {
  console.log(`A weight of ${ROWS} x ${COLUMNS}; CPU time, median of ${TURNS} turns\n`)
  console.log('| kernel | TypeScript, ns | WebAssembly, ns | ratio |')
  console.log('| --- | ---: | ---: | ---: |')
  for (const each of [...perturbations(), ...updates(), factors()]) measured(each)
}
