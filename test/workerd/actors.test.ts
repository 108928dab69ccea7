import { abortAllDurableObjects, evictAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect } from 'vitest'
import { s3Settings } from '../../coordinator/hosts/environment.ts'
import { datasetOf, runOf } from '../../coordinator/hosts/workers.ts'
import { openS3Store } from '../../coordinator/objects/s3.ts'
import { runLog } from '../../shared/ledger/index.ts'
import { type ActorStage, actorContract } from '../contract/actors.ts'
import { readTexts } from '../rehearsal/audit.ts'

/** The log of a run, segment after segment, as it lies in the bucket. */
async function readLog(run: string) {
  const store = openS3Store(s3Settings(env as unknown as Record<string, string>)!)
  const texts: string[] = []
  for (let log = readTexts(texts); ; log = readTexts(texts)) {
    const bytes = await store.fetch(runLog.segmentKey(run, log.head.size))
    if (!bytes) return log
    texts.push(new TextDecoder().decode(bytes))
  }
}

/** Durable Objects in workerd, with a bucket behind S3. */
async function open(): Promise<ActorStage> {
  const tail = crypto.randomUUID().slice(0, 8)
  const runId = `run-${tail}`
  const stub = () => env.RUNS.get(env.RUNS.idFromName(runId))
  return {
    runId,
    datasets: [`north-${tail}`, `south-${tail}`],
    run: () => runOf(runId),
    dataset: datasetOf,
    lose: async (loss) => {
      const marked = await runInDurableObject(stub(), (object) => Reflect.set(object, 'marked', true))
      expect(marked).toBe(true)
      await (loss === 'evicted' ? evictAllDurableObjects() : abortAllDurableObjects())
      expect(await runInDurableObject(stub(), (object) => Reflect.has(object, 'marked'))).toBe(false)
    },
    fireAlarm: () => runInDurableObject(stub(), (object) => object.alarm()),
    pass: (ms) => scheduler.wait(ms),
    log: () => readLog(runId),
  }
}

describe('actors in workerd', () => actorContract(open))
