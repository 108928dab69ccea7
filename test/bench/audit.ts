import { randomInt } from 'node:crypto'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { auditRun } from '../../shared/ledger/index.ts'
import { epsilonBounds, gaussianEvent, spend } from '../../shared/privacy/index.ts'
import { advance, replay, replayStart, stateHash } from '../../shared/zo/index.ts'
import { smallSpec } from '../rehearsal/request.ts'
import { finishedRun } from '../rehearsal/theatre.ts'

/** Flips, cuts, losses and swaps of the objects of a run, at random. @returns how many were tried, and how many found */
async function tamperings(wanted: number): Promise<{ tried: number; found: number }> {
  const theatre = await finishedRun()
  const key = await openLogKey('rehearsal', new Uint8Array(32))
  const question = {
    run: theatre.runId,
    name: 'rehearsal',
    publicKey: key.publicKey,
    verify: verifyEd25519,
  }
  const objects = theatre.objects.objects
  // Stored states are a cache that nobody has to believe.
  const keys = [...objects.keys()].filter((name) => !name.includes('/checkpoints/'))
  let found = 0
  for (let tried = 0; tried < wanted; tried++) {
    const changed = new Map(objects)
    const name = keys[randomInt(keys.length)]!
    const bytes = objects.get(name)!.slice()
    const kind = randomInt(5)
    if (kind === 0) changed.delete(name)
    else if (kind === 1) changed.set(name, bytes.subarray(0, randomInt(bytes.length)))
    else if (kind === 2)
      changed.set(name, objects.get(keys.filter((each) => each !== name)[randomInt(keys.length - 1)]!)!)
    else {
      bytes[randomInt(bytes.length)]! ^= 1 << randomInt(8)
      changed.set(name, bytes)
    }
    const holds = await auditRun({ read: async (at) => changed.get(at) ?? null }, question).then(
      () => true,
      () => false,
    )
    if (!holds) found += 1
  }
  return { tried: wanted, found }
}

/** A run of 10,000 rounds in a lora space of 2,048 coordinates, 4 directions a round. @returns seconds to replay it */
function longReplay(): { rounds: number; seconds: number } {
  const rounds = 10_000
  const sites = ['q', 'k', 'v', 'o'].map((name) => ({ name, inputs: 128, outputs: 128, scale: 1 }))
  const stage = { rounds, learningRate: 1e-3, radius: 0.01, directions: 4, clip: 1, samplingRate: 0.01 }
  const spec = smallSpec(['north'], {
    space: { kind: 'lora', rank: 4, sites },
    stages: [stage],
    budget: { epsilon: 8, delta: 1e-5 },
  })
  let point = replayStart(spec)
  const closes = Array.from({ length: rounds }, (_, round) => {
    const coefficients = Array.from({ length: stage.directions }, () => randomInt(-1000, 1000) / 1e4)
    point = advance(spec, point, { round, coefficients })
    return { round, coefficients, stateHash: stateHash(point.state) }
  })
  const started = performance.now()
  replay(spec, closes)
  return { rounds, seconds: (performance.now() - started) / 1000 }
}

/** Recomputes what 10,000 charges spent, by both accountants. */
function spendSeconds(): number {
  const events = Array.from({ length: 10_000 }, () => ({
    event: gaussianEvent({ noiseMultiplier: 1.1, samplingRate: 0.01 }),
    count: 1,
  }))
  const started = performance.now()
  epsilonBounds(events, 1e-5)
  spend(events, 1e-5)
  return (performance.now() - started) / 1000
}

/** What an audit finds, and how long it takes. */
export async function audit({ json }: { json: boolean }): Promise<void> {
  const { tried, found } = await tamperings(500)
  const { rounds, seconds } = longReplay()
  const figures = {
    tamperedTried: tried,
    tamperedFound: found,
    replayRoundsPerSecond: Math.round(rounds / seconds),
    replaySeconds: Number(seconds.toPrecision(3)),
    auditSpendSeconds: Number(spendSeconds().toPrecision(3)),
  }
  console.log(`${found} of ${tried} random tamperings of a run's objects were found`)
  console.log(`replay of ${rounds} rounds, 2,048 coordinates, 4 directions: ${figures.replaySeconds} s`)
  console.log(`spend of 10,000 charges, certified and by Renyi divergences: ${figures.auditSpendSeconds} s`)
  if (json) console.log(JSON.stringify(figures))
}
