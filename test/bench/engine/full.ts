import { CALL_LIMITS } from '../../../gpu-worker/engine/device/index.ts'
import { openEngine } from '../../../gpu-worker/engine/index.ts'
import { median } from '../median.ts'
import { type Duration, inTurn, ratioOf } from './paired.ts'
import { openPlain } from './plain.ts'
import { encoderFolder, fullSpace, recordsOf, SEED, taskOf } from './subject.ts'

export interface FullSetting {
  /** Tokens of one forward: of all its records. */
  readonly forwardTokens: number
  readonly tokens: number
  readonly turns: number
}

export interface FullRatio extends FullSetting {
  /** Median seconds of two pure forwards. */
  readonly plainSeconds: number
  /** A pair of forwards with its perturbations over two pure forwards. */
  readonly pair: Duration
}

/** Pairs in a round: what is done once for a round counts as an eighth. */
const DIRECTIONS = 8
const RADIUS = 1e-3

/** Pairs of forwards around every weight of the model, dense directions, against pure forwards of the same batch. */
export async function fullRatio(setting: FullSetting): Promise<FullRatio> {
  const { forwardTokens, tokens, turns } = setting
  const dir = encoderFolder()
  const records = recordsOf(forwardTokens / tokens, tokens)
  const space = await fullSpace(dir)
  const plain = await openPlain(dir, records)
  const engine = await openEngine({ modelDir: dir, task: taskOf(tokens), space, seed: SEED, cacheBytes: 0 })
  const center = new Float32Array(engine.dimension)
  const members = Math.min(records.length, Math.floor(CALL_LIMITS.cpu.tokens / tokens))
  let round = 0
  const times = await inTurn(
    {
      plain: () => plain.run((2 * DIRECTIONS * records.length) / members, members),
      pairs: () =>
        engine.losses(records, { center, round: round++, directions: DIRECTIONS, radius: RADIUS, sides: 'two' }),
    },
    turns,
  )
  await plain.release()
  await engine.close()
  const plainSeconds = median(times.plain.map(({ wall }) => wall)) / DIRECTIONS
  return { ...setting, plainSeconds, pair: ratioOf(times.pairs, times.plain) }
}
