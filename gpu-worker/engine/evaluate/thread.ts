import { parentPort } from 'node:worker_threads'
import { groupAt, groupCount } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { loadRuntime } from '../ort.ts'
import type { Groups } from './driver.ts'
import { Evaluator } from './evaluator.ts'
import { runFailure } from './failure.ts'
import type { Answer, Around, GroupRange, Request } from './messages.ts'

/** An evaluating thread: the runtime computes synchronously, so it must never share a thread with timers or sockets. */
const port = parentPort
if (!port) throw new Error('this module is the entry of a worker thread')

let evaluator: Evaluator | undefined

function opened(): Evaluator {
  if (!evaluator) throw new EngineError('closed', 'no model is open')
  return evaluator
}

const CENTER: Omit<Groups, 'center'> = { count: 1, at: () => ({ k: 0, sign: 0 }), round: 0, radius: 0 }

function groupsOf(center: Float32Array, around: Around, part?: GroupRange): Groups {
  if (around === 'center') return { center, ...CENTER }
  const { round, radius, sides } = around
  const { from, to } = part ?? { from: 0, to: groupCount(around) }
  return { center, count: to - from, at: (group) => groupAt(from + group, sides), round, radius }
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
      const { center, around, part, records, output } = request
      return opened().run(records, groupsOf(center, around, part), output)
    }
    case 'close':
      await evaluator?.release()
      evaluator = undefined
      return undefined
  }
}

/** Messages of the runtime may repeat values; only our own texts leave the thread. */
function failure(error: unknown): Answer {
  const { code, message } = runFailure(error)
  return { ok: false, code, message }
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
