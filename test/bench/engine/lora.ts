import { CALL_LIMITS } from '../../../gpu-worker/engine/device/index.ts'
import { ranges } from '../../../gpu-worker/engine/evaluate/chunks.ts'
import { type Engine, openEngine } from '../../../gpu-worker/engine/index.ts'
import type { LoraSpace } from '../../../shared/zo/index.ts'
import { median } from '../median.ts'
import { type Duration, inTurn, ratioOf } from './paired.ts'
import { openPlain } from './plain.ts'
import { encoderFolder, loraSpace, MINILM, recordsOf, SEED, taskOf } from './subject.ts'

export interface LoraSetting {
  readonly tokens: number
  readonly directions: number
  readonly records: number
  readonly turns: number
}

export interface LoraRatios extends LoraSetting {
  /** Sequences in one call, of the engine's and of pure inference. */
  readonly members: number
  /** Median seconds of pure inference in those calls. */
  readonly plainSeconds: number
  /** A round of all layers over pure inference in the same calls, by rank. */
  readonly allLayers: Readonly<Record<number, Duration>>
  /** The same over pure inference of all sequences in one call. */
  readonly vsOneCall: Readonly<Record<number, Duration>>
  /** A round of the last third of the layers, nothing kept from earlier rounds, over pure inference in the same calls. */
  readonly lastThird: Duration
  /** A one-sided round over a two-sided one, all layers. */
  readonly oneSided: Duration
}

const RANKS = [1, 4] as const
const RADIUS = 0.01

/** Rounds in the lora space against pure inference of the same 2 K B sequences, one thread each. */
export async function loraRatios(setting: LoraSetting): Promise<LoraRatios> {
  const { tokens, directions, turns } = setting
  const dir = encoderFolder()
  const records = recordsOf(setting.records, tokens)
  // How the engine cuts a record's groups into calls.
  const groups = 2 * directions
  const members = ranges(groups, Math.max(1, Math.floor(CALL_LIMITS.cpu.tokens / tokens)))[0]!.to
  const sequences = groups * records.length
  const plain = await openPlain(dir, records)
  const engines: Engine[] = []
  const roundOf = async (space: LoraSpace, sides: 'two' | 'one') => {
    // Nothing is kept between rounds: a round meets other records than the one before.
    const engine = await openEngine({ modelDir: dir, task: taskOf(tokens), space, seed: SEED, cacheBytes: 0 })
    engines.push(engine)
    const center = new Float32Array(engine.dimension)
    let round = 0
    return () => engine.losses(records, { center, round: round++, directions, radius: RADIUS, sides })
  }
  const [first, second] = [
    await loraSpace(dir, { rank: 1, firstLayer: 0 }),
    await loraSpace(dir, { rank: 4, firstLayer: 0 }),
  ]
  const last = await loraSpace(dir, { rank: 4, firstLayer: MINILM.layers - MINILM.layers / 3 })
  const times = await inTurn(
    {
      sameCalls: () => plain.run(sequences / members, members),
      rank1: await roundOf(first, 'two'),
      oneCall: () => plain.run(1, sequences),
      rank4: await roundOf(second, 'two'),
      lastThird: await roundOf(last, 'two'),
      oneSided: await roundOf(second, 'one'),
    },
    turns,
  )
  await plain.release()
  for (const engine of engines) await engine.close()
  const byRank = (reference: Duration[]) =>
    Object.fromEntries(RANKS.map((rank) => [rank, ratioOf(times[`rank${rank}`], reference)]))
  return {
    ...setting,
    members,
    plainSeconds: median(times.sameCalls.map(({ wall }) => wall)),
    allLayers: byRank(times.sameCalls),
    vsOneCall: byRank(times.oneCall),
    lastThird: ratioOf(times.lastThird, times.sameCalls),
    oneSided: ratioOf(times.oneSided, times.rank4),
  }
}
