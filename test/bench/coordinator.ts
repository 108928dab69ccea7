import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from '../rehearsal/client.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../rehearsal/request.ts'
import { FakeWorker, setStage } from '../rehearsal/worker.ts'
import { startWorkerd } from '../rehearsal/workerd.ts'
import { startS3 } from '../tooling/global-s3.ts'
import { answerAll, SameReports, startCoordinator } from './load.ts'
import { median } from './median.ts'

/** The same in workerd, with a bucket behind S3: both on this machine, as processes of their own. */
async function startWorkers() {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-bench-'))
  const { s3, close } = await startS3()
  const host = await startWorkerd({ dataDir: folder, s3 })
  return {
    admin: new Client(host.url, host.adminToken),
    close: async () => {
      await host.close()
      await close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

type Started = Pick<Awaited<ReturnType<typeof startCoordinator>>, 'admin' | 'close'>

interface Load {
  readonly datasets: number
  readonly rounds: number
}

/** A run whose workers answer at once. @returns reports, seconds, and milliseconds from the open to the close of each round. */
async function instantRun({ datasets, rounds }: Load, start: () => Promise<Started> = startCoordinator) {
  const coordinator = await start()
  try {
    const { admin } = coordinator
    const ids = Array.from({ length: datasets }, (_, n) => `site-${String(n).padStart(3, '0')}`)
    const model = await setStage(admin, {
      datasets: ids.map((id) => ({ id, epsilon: 100 })),
      files: SMALL_FILES,
      manifest: manifestOf(SMALL_FILES),
    })
    const stage = { rounds, learningRate: 0.1, radius: 0.01, directions: 16, clip: 1, samplingRate: 0.05 }
    const workers = await Promise.all(ids.map((id) => FakeWorker.enrol(admin, id)))
    const { body: run } = await admin.post('/v1/runs', { ...smallRequest({ model, datasets: ids }), stages: [stage] })
    const replayed = new SameReports(run.spec)
    const started = performance.now()
    await Promise.all(workers.map((worker) => answerAll(worker, replayed)))
    const seconds = (performance.now() - started) / 1000
    const text = await admin.text(`/v1/runs/${run.id}/events`)
    return { reports: datasets * rounds, seconds, roundMs: roundTimes(text) }
  } finally {
    await coordinator.close()
  }
}

/** From the time in a round's opening record to that in its closing one. */
function roundTimes(events: string): number[] {
  const opened = new Map<number, number>()
  const times: number[] = []
  for (const line of events.split('\n').filter((each) => each.startsWith('data: '))) {
    const { type, round, time } = JSON.parse(line.slice('data: '.length))
    if (type === 'round.opened') opened.set(round, time)
    if (type === 'round.closed') times.push(time - opened.get(round)!)
  }
  return times
}

/** Opens long polls that find nothing. @returns how many wait at once, and the memory that the coordinator has more by then. */
async function waitingPolls(wanted: number): Promise<{ waiting: number; bytes: number }> {
  const coordinator = await startCoordinator()
  const agent = new Agent({ keepAlive: true, maxSockets: wanted })
  const open: { destroy(): void }[] = []
  try {
    const { admin, url } = coordinator
    await admin.post('/v1/datasets', { id: 'north', units: 1000, budget: { epsilon: 4, delta: 1e-5 } })
    const { body } = await admin.post('/v1/workers', { dataset: 'north' })
    const before = coordinator.resident()
    let failed = 0
    const poll = () => {
      const sent = httpRequest(`${url}/v1/leases`, {
        agent,
        method: 'POST',
        headers: { authorization: `Bearer ${body.token}`, 'content-type': 'application/json' },
      })
      sent.on('error', () => failed++)
      sent.on('response', () => failed++)
      sent.end('{"waitSeconds":60}')
      open.push(sent)
    }
    const BATCH = 200
    for (let sent = 0; sent < wanted; sent += BATCH) {
      for (let n = 0; n < BATCH; n++) poll()
      await sleep(50)
    }
    await sleep(2000)
    return { waiting: wanted - failed, bytes: coordinator.resident() - before }
  } finally {
    for (const sent of open) sent.destroy()
    agent.destroy()
    await coordinator.close()
  }
}

/** What one coordinator bears, on Node and in workerd: durable reports, the overhead of a round, waiting workers. */
export async function coordinator({ json }: { json: boolean }): Promise<void> {
  const wide = await instantRun({ datasets: 64, rounds: 30 })
  const narrow = await instantRun({ datasets: 8, rounds: 100 })
  const { waiting, bytes } = await waitingPolls(10_000)
  const wideOnWorkerd = await instantRun({ datasets: 64, rounds: 5 }, startWorkers)
  const narrowOnWorkerd = await instantRun({ datasets: 8, rounds: 20 }, startWorkers)
  const figures = {
    reportsPerSecond: Number((wide.reports / wide.seconds).toPrecision(3)),
    roundMsP50With64: median(wide.roundMs),
    roundOverheadMsP50: median(narrow.roundMs),
    reportsPerSecondOnWorkerd: Number((wideOnWorkerd.reports / wideOnWorkerd.seconds).toPrecision(3)),
    roundOverheadMsP50OnWorkerd: median(narrowOnWorkerd.roundMs),
    longPolls: waiting,
    longPollMebibytes: Math.round(bytes / 2 ** 20),
  }
  console.log(`64 datasets, workers that answer at once: ${figures.reportsPerSecond} durable reports a second`)
  console.log(`  a round from open to close, median: ${figures.roundMsP50With64} ms`)
  console.log(`8 datasets: a round from open to close, median: ${figures.roundOverheadMsP50} ms`)
  console.log(`${waiting} long polls wait at once, in ${figures.longPollMebibytes} MiB beside what the process had`)
  console.log(
    `workerd: ${figures.reportsPerSecondOnWorkerd} reports a second with 64 datasets, ${figures.roundOverheadMsP50OnWorkerd} ms a round of 8`,
  )
  if (json) console.log(JSON.stringify(figures))
}
