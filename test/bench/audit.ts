import { randomInt } from 'node:crypto'
import { epsilonBounds, gaussianEvent, spend } from '../../shared/privacy/index.ts'
import { advance, replay, replayStart, stateHash } from '../../shared/zo/index.ts'
import { coefficientsOf, LONG_RUN, ROUNDS } from '../ledger/long-replay.ts'
import { hasBrowser } from '../pages/browser.ts'
import { tamperings } from '../rehearsal/tampering.ts'
import { Theatre } from '../rehearsal/theatre.ts'
import { bundle, inChromium, inNode, inWorkerd } from '../tooling/runtimes.ts'

/** A run of 10,000 rounds in a lora space, 4 directions a round. @returns seconds to replay it, each state checked */
function longReplay(): { rounds: number; coordinates: number; seconds: number } {
  let point = replayStart(LONG_RUN)
  const closes = Array.from({ length: ROUNDS }, (_, round) => {
    const coefficients = coefficientsOf(round)
    point = advance(LONG_RUN, point, { round, coefficients })
    return { round, coefficients, stateHash: stateHash(point.state) }
  })
  const started = performance.now()
  replay(LONG_RUN, closes)
  const seconds = (performance.now() - started) / 1000
  return { rounds: ROUNDS, coordinates: point.state.current.length, seconds }
}

/** Seconds of the same rounds in each engine, one state in 2,500 hashed, and whether all of them lead to the same. */
async function engines(): Promise<{ node: number; workerd: number; chromium: number | null; same: boolean }> {
  const code = await bundle(new URL('../ledger/long-replay.ts', import.meta.url))
  const hashes = new Set<string>()
  const timed = async (run: () => Promise<object> | object) => {
    const started = performance.now()
    hashes.add(JSON.stringify(await run()))
    return Number(((performance.now() - started) / 1000).toPrecision(3))
  }
  const node = await timed(() => inNode(code))
  const workerd = await timed(() => inWorkerd(code))
  const chromium = hasBrowser ? await timed(() => inChromium(code)) : null
  return { node, workerd, chromium, same: hashes.size === 1 }
}

/** What a run's logs take in the bucket: its own, and that of one dataset, which takes a charge a round. */
async function storage(): Promise<{ bytesPerRound: number; bytesPerCharge: number; objectsPerRound: number }> {
  const rounds = 200
  const theatre = new Theatre({ checkpointEvery: 1e9 })
  await theatre.addDataset('north', 1000)
  const stage = { rounds, learningRate: 0.1, radius: 0.01, directions: 16, clip: 1, samplingRate: 0.01 }
  await theatre.begin({ stages: [stage], budget: { epsilon: 8, delta: 1e-5 } })
  const north = await theatre.player('w', 'north')
  const sizes = () => {
    const logs = [...theatre.objects.objects].filter(([key]) => key.includes('/log/'))
    const of = (folder: string) => logs.filter(([key]) => key.startsWith(folder))
    const bytes = (folder: string) => of(folder).reduce((sum, [, object]) => sum + object.length, 0)
    return { run: bytes('runs/'), dataset: bytes('datasets/'), objects: of('runs/').length }
  }
  const before = sizes()
  for (let round = 0; round < rounds; round++) {
    await theatre.play(north)
    theatre.now += 1000
  }
  await theatre.dataset('north').idle()
  const after = sizes()
  return {
    bytesPerRound: Math.round((after.run - before.run) / rounds),
    bytesPerCharge: Math.round((after.dataset - before.dataset) / rounds),
    objectsPerRound: Number(((after.objects - before.objects) / rounds).toPrecision(3)),
  }
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
  const { tried, missed } = await tamperings(500, randomInt)
  const { rounds, coordinates, seconds } = longReplay()
  const replayed = await engines()
  const stored = await storage()
  const figures = {
    tamperedTried: tried,
    tamperedFound: tried - missed.length,
    replayRoundsPerSecond: Math.round(rounds / seconds),
    replaySeconds: Number(seconds.toPrecision(3)),
    replayEngines: replayed,
    auditSpendSeconds: Number(spendSeconds().toPrecision(3)),
    ...stored,
  }
  console.log(`${figures.tamperedFound} of ${tried} random tamperings of a run's objects were found`)
  console.log(`replay of ${rounds} rounds, ${coordinates} coordinates, 4 directions: ${figures.replaySeconds} s`)
  const told = Object.entries(replayed).map(([name, value]) => `${name} ${value}`)
  console.log(`the same rounds with their engine's start, in seconds: ${told.join(', ')}`)
  console.log(
    `a round of one dataset and 16 directions: ${stored.bytesPerRound} bytes in ${stored.objectsPerRound} objects of its log, ` +
      `${stored.bytesPerCharge} bytes in that of the dataset`,
  )
  console.log(`spend of 10,000 charges, certified and by Renyi divergences: ${figures.auditSpendSeconds} s`)
  if (json) console.log(JSON.stringify(figures))
}
