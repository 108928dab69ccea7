import type { Device } from './engine/index.ts'

/** What a worker may say: fields of this list alone, so that no loss, size or text can reach a log. */
export interface WorkerEvent {
  readonly event:
    | 'started'
    | 'engine_open'
    | 'model_ready'
    | 'reported'
    | 'evaluated'
    | 'masked'
    | 'dropped'
    | 'retrying'
    | 'device_lost'
    | 'units_left_out'
  readonly run?: string
  readonly dataset?: string
  readonly round?: number
  readonly device?: Device
  readonly code?: string
}

export type Log = (event: WorkerEvent) => void

/** Writes events to standard output, as words or as one JSON object a line. Copies the listed fields, whatever else an object holds. */
export function consoleLog(json: boolean): Log {
  return ({ event, dataset, run, round, device, code }) => {
    if (json) return console.log(JSON.stringify({ time: Date.now(), event, dataset, run, round, device, code }))
    console.log(
      [event, dataset, run, round === undefined ? undefined : `round ${round}`, device, code].filter(Boolean).join(' '),
    )
  }
}
