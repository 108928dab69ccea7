import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openEngine } from '../../../gpu-worker/engine/index.ts'
import type { LoraSpace } from '../../../shared/zo/index.ts'
import { openPlain } from './plain.ts'
import { encoderFolder, loraSpace, recordsOf, SEED, taskOf } from './subject.ts'

/** Peak memory of a process that does one thing; each is measured in a process of its own. */

const DOINGS = ['nothing', 'plain', 'round', 'manyDirections'] as const
type Doing = (typeof DOINGS)[number]

export interface PeakMemory {
  /**
   * MiB of resident memory at most: of a process that only loads the code, of pure inference, of a round, of a round of as
   * many forwards with one record alone.
   */
  readonly mebibytes: Readonly<Record<Doing, number>>
  /** Round over pure inference, whole processes. */
  readonly ratio: number
}

const TOKENS = 128
const RECORDS = 16
const DIRECTIONS = 8
const RANK = 4
/** Sequences of a call, as the engine makes it for records of this length. */
const MEMBERS = 8

const ACTIONS: Readonly<Record<Doing, () => Promise<void>>> = {
  nothing: async () => {},
  async plain() {
    const records = recordsOf(RECORDS, TOKENS)
    const plain = await openPlain(encoderFolder(), records)
    await plain.run((2 * DIRECTIONS * RECORDS) / MEMBERS, MEMBERS)
    await plain.release()
  },
  round: () => round({ records: RECORDS, directions: DIRECTIONS }),
  manyDirections: () => round({ records: 1, directions: RECORDS * DIRECTIONS }),
}

async function round({ records, directions }: { records: number; directions: number }): Promise<void> {
  // The space comes from outside, as a run's does: looking for sites is no part of a round.
  const space: LoraSpace = JSON.parse(process.argv[3]!)
  const options = { modelDir: encoderFolder(), task: taskOf(TOKENS), space, seed: SEED, cacheBytes: 0 }
  const engine = await openEngine(options)
  const center = new Float32Array(engine.dimension)
  await engine.losses(recordsOf(records, TOKENS), { center, round: 0, directions, radius: 0.01, sides: 'two' })
  await engine.close()
}

function peakOf(doing: Doing, space: LoraSpace): number {
  const script = fileURLToPath(import.meta.url)
  const output = execFileSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', script, doing, JSON.stringify(space)],
    {
      encoding: 'utf8',
    },
  )
  return Number(output.trim().split('\n').at(-1)) / 1024
}

/** KiB that this process held at most. What the system says of usage goes back to the parent's, where that was more. */
function peakKibibytes(): number {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : ''
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? process.resourceUsage().maxRSS)
}

/** Peaks of all, each the least of a few processes: what else a process may have held is not its own doing. */
export async function peakMemory(): Promise<PeakMemory> {
  const space = await loraSpace(encoderFolder(), { rank: RANK, firstLayer: 0 })
  const least = (doing: Doing) => Math.min(...Array.from({ length: 3 }, () => peakOf(doing, space)))
  const mebibytes = {
    nothing: least('nothing'),
    plain: least('plain'),
    round: least('round'),
    manyDirections: least('manyDirections'),
  }
  return { mebibytes, ratio: mebibytes.round / mebibytes.plain }
}

if (import.meta.main) {
  await ACTIONS[DOINGS.find((doing) => doing === process.argv[2])!]()
  console.log(peakKibibytes())
}
