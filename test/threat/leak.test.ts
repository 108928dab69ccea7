import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openEngine } from '../../gpu-worker/engine/index.ts'
import type { Run } from '../../shared/api/index.ts'
import { spaceDimension, spaceOfStage } from '../../shared/zo/index.ts'
import { MODEL, records, SENTINEL, SITES, Stage } from '../e2e/harness.ts'
import { type Exchange, recordWire } from '../e2e/wire.ts'

const COUNT = 60

describe('what a worker knows and nobody else may', () => {
  const stage = new Stage()
  let wire: Exchange[] = []
  let run: Run

  beforeAll(async () => {
    await stage.startCoordinator()
    // One record fits no task, and one label is none: what goes wrong may not be told by its text either.
    const odd = { text: `${SENTINEL} ${'long '.repeat(200)}`, label: `${SENTINEL}` }
    for (const site of SITES) await stage.addSite(site, { records: [...records(site, COUNT), odd] })
    const recorder = await recordWire(stage.url)
    wire = recorder.exchanges
    for (const site of SITES) stage.startWorker(site, { coordinator: recorder.url })
    // A run that the budget of no site pays for, before one that works.
    await stage.submit({ rounds: 6, directions: 4, budget: { epsilon: 500, delta: 1e-5 } }).catch(() => undefined)
    run = await stage.finish((await stage.submit({ rounds: 6, directions: 4 })).id)
  })
  afterAll(() => stage.close())

  it('lets no planted text and no loss out of the workers', async () => {
    const { task, seed } = run.spec
    const space = spaceOfStage(run.spec, 0)
    const engine = await openEngine({ modelDir: MODEL, task, space, seed, threads: 1 })
    await engine.setStage(0, [])
    const planted = SITES.flatMap((site) => records(site, COUNT)).filter(({ text }) => text.includes(SENTINEL))
    const center = new Float32Array(spaceDimension(space))
    const at = { center, round: 0, directions: 1, radius: 1e-3, sides: 'one' } as const
    const losses = await engine.losses(planted.map(engine.encode), at)
    await engine.close()
    expect(planted.length).toBeGreaterThan(10)

    const secrets = [Buffer.from(SENTINEL), Buffer.from('xylophagous')]
    // Seven digits of a float32 are it; eight bytes of a double, either way round.
    for (const loss of losses) {
      const double = Buffer.from(new Float64Array([loss]).buffer)
      secrets.push(Buffer.from(loss.toPrecision(7)), double, Buffer.from(double).reverse())
    }
    const heard = [
      ...wire.map(({ path, body, headers }) => Buffer.from(path + body + JSON.stringify(headers))),
      ...stage.processes.map(({ output }) => Buffer.from(output())),
      ...filesBelow(join(stage.folder, 'coordinator')),
      ...SITES.flatMap((site) => filesBelow(join(stage.folder, 'sites', site))).filter(
        (file) => file.length < 1_000_000,
      ),
    ]
    for (const secret of secrets) expect(heard.some((bytes) => bytes.includes(secret))).toBe(false)
    // Four bytes may be met by chance among millions; several losses in one place may not.
    const singles = Array.from(losses, (loss) => Buffer.from(new Float32Array([loss]).buffer))
    for (const bytes of heard) expect(singles.filter((single) => bytes.includes(single)).length).toBeLessThan(3)
    // The search itself can find: what did go out is found.
    expect(heard.some((bytes) => bytes.includes(Buffer.from(run.spec.seed)))).toBe(true)
  })
})

function filesBelow(folder: string): Buffer[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
}
