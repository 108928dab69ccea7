import { parentPort } from 'node:worker_threads'
import { EngineError } from '../error.ts'
import { loadRuntime } from '../ort.ts'
import { Evaluator } from './evaluator.ts'
import type { Answer, Request } from './messages.ts'

/** An evaluating thread: the runtime computes synchronously, so it must never share a thread with timers or sockets. */
const port = parentPort
if (!port) throw new Error('this module is the entry of a worker thread')

let evaluator: Evaluator | undefined

function opened(): Evaluator {
  if (!evaluator) throw new EngineError('closed', 'no model is open')
  return evaluator
}

async function handle(request: Request): Promise<Float32Array | undefined> {
  switch (request.kind) {
    case 'open':
      evaluator = new Evaluator(await loadRuntime(), request.setup)
      return undefined
    case 'stage':
      await opened().setStage(request.stage, request.finished)
      return undefined
    case 'run': {
      const { factors, groups, records, output } = request
      const length = factors.length / groups
      const parts = Array.from({ length: groups }, (_, g) => factors.subarray(g * length, (g + 1) * length))
      return opened().run(records, parts, output)
    }
    case 'close':
      await evaluator?.release()
      evaluator = undefined
      return undefined
  }
}

/** Messages of the runtime may repeat values; only our own texts leave the thread. */
function failure(error: unknown): Answer {
  if (error instanceof EngineError) return { ok: false, code: error.code, message: error.message }
  return { ok: false, code: 'runtime_failed', message: 'the runtime failed while evaluating' }
}

/** Requests are handled one after another: a stage must not change under a run. */
let earlier: Promise<void> = Promise.resolve()

port.on('message', (request: Request) => {
  earlier = earlier
    .then(() => handle(request))
    .then((values): Answer => ({ ok: true, values }), failure)
    .then((answer) => {
      port.postMessage(answer)
      if (request.kind === 'close') port.close()
    })
})
