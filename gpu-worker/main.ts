import { randomFillSync } from 'node:crypto'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { parseWitness, type Witness } from '../shared/ledger/index.ts'
import { connectCoordinator } from './coordinator.ts'
import { readUnits } from './data/index.ts'
import { DEVICES, type DeviceWish } from './engine/index.ts'
import { WorkerError } from './error.ts'
import { consoleLog } from './log.ts'
import { runWorker } from './loop.ts'
import { persistently } from './persist.ts'
import type { Policy } from './policy.ts'
import { openSite } from './site.ts'
import { openSiteEngine } from './site-engine.ts'

const HELP = `Usage: npm run worker -- --coordinator URL --token TOKEN --data mail.jsonl [options]

Runs beside one private dataset: leases rounds, evaluates them here, reports noised integers. Opens no port and no
connection but to its coordinator and the store that the coordinator names. Stop it with Ctrl-C at any time: it goes on
where it was.

  --coordinator URL   address of the coordinator (or SOTTO_COORDINATOR)
  --token TOKEN       worker token, bound to the dataset (or SOTTO_TOKEN, which keeps it out of the process list)
  --data FILE         JSONL, one line a record: {"text", "label"}, {"prompt", "completion"}, {"messages"} or
                      {"prompt", "chosen", "rejected"}, and "user"
  --state DIR         key, outbox and models of this worker (default: .sotto/worker beside the data); one worker a folder
  --device DEVICE     where to evaluate: cpu (default), webgpu, cuda, or auto, the first of cuda, webgpu, cpu that works
  --keep-half         leave float16 weights so in memory, which takes half of it, and widen them call by call; a GPU always does
  --threads N         inference threads, or auto (default): as many as cores and memory allow; a GPU has one
  --unit UNIT         what is protected: record (default) or user, all lines with one "user"
  --labels A,B        labels that the data may have; without it, lines with a label that the run does not know count as nothing
  --accept HASH       agree to this spec alone; may be given more than once
  --log-key KEY       public key that the coordinator's logs are signed by; without it, the first one seen is pinned
  --witness URL=KEY   have this witness cosign the log before each round, and refuse where it saw another one; may be given more
                      than once ("sotto witness" prints its key)
  --max-epsilon E     refuse a run that may spend more of this dataset
  --lifetime-epsilon E, --lifetime-delta D
                      what this site may release over all runs, whatever the coordinator says; without them, what the
                      dataset was registered with when this worker first saw it
  --max-delta D       refuse a run that asks for a larger delta (default 1e-5)
  --beat SECONDS      send each report a whole number of them after its lease came, so that nobody can tell from the time how many
                      records were drawn: longer than a round takes here, shorter than its lease (default 0: at once)
  --idle SECONDS      end once the coordinator has wanted nothing for so long: for a job that is started anew when there is
                      work (default: never)
  --json              one JSON object a line instead of words
  --help              this text

Exit codes: 0 stopped by a signal or by --idle, 1 an error that a person must look at, 2 wrong usage.`

class UsageError extends Error {}

interface Settings {
  coordinator: string
  token: string
  data: string
  state: string
  device: DeviceWish
  keepsHalves?: boolean
  threads: number | 'auto'
  policy: Policy
  labels: string[] | null
  beatMs: number
  idleSeconds?: number
  json: boolean
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS }).values
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : 'unreadable arguments; see --help')
  }
}

const OPTIONS = {
  coordinator: { type: 'string' },
  token: { type: 'string' },
  data: { type: 'string' },
  state: { type: 'string' },
  device: { type: 'string', default: 'cpu' },
  'keep-half': { type: 'boolean', default: false },
  threads: { type: 'string', default: 'auto' },
  accept: { type: 'string', multiple: true },
  'log-key': { type: 'string' },
  witness: { type: 'string', multiple: true },
  'lifetime-epsilon': { type: 'string' },
  'lifetime-delta': { type: 'string' },
  'max-epsilon': { type: 'string' },
  beat: { type: 'string', default: '0' },
  idle: { type: 'string' },
  'max-delta': { type: 'string', default: '1e-5' },
  unit: { type: 'string', default: 'record' },
  labels: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

function readSettings(): Settings | null {
  const values = readArguments()
  if (values.help) return null
  const coordinator = required('--coordinator', values.coordinator ?? process.env.SOTTO_COORDINATOR)
  if (!URL.canParse(coordinator)) throw new UsageError('--coordinator must be a URL such as http://127.0.0.1:8787')
  const data = required('--data', values.data)
  const maxEpsilon = values['max-epsilon']
  return {
    coordinator,
    token: required('--token', values.token ?? process.env.SOTTO_TOKEN),
    data,
    state: values.state ?? join(data, '..', '.sotto', 'worker'),
    device: readDevice(values.device),
    ...(values['keep-half'] ? { keepsHalves: true } : {}),
    threads: values.threads === 'auto' ? 'auto' : positive('--threads', values.threads, Number.isInteger),
    labels: values.labels?.split(',') ?? null,
    policy: {
      maxDelta: positive('--max-delta', values['max-delta'], Number.isFinite),
      unit: readUnit(values.unit),
      witnesses: (values.witness ?? []).map(readWitness),
      lifetime: {
        ...optional('epsilon', '--lifetime-epsilon', values['lifetime-epsilon']),
        ...optional('delta', '--lifetime-delta', values['lifetime-delta']),
      },
      ...(values['log-key'] === undefined ? {} : { logKey: values['log-key'] }),
      ...(values.accept ? { acceptedSpecs: new Set(values.accept) } : {}),
      ...(maxEpsilon === undefined ? {} : { maxEpsilon: positive('--max-epsilon', maxEpsilon, Number.isFinite) }),
    },
    beatMs: values.beat === '0' ? 0 : 1000 * positive('--beat', values.beat, Number.isFinite),
    ...(values.idle === undefined ? {} : { idleSeconds: positive('--idle', values.idle, Number.isInteger) }),
    json: values.json,
  }
}

function readDevice(device: string): DeviceWish {
  const known = DEVICES.find((each) => each === device)
  if (!known) throw new UsageError(`--device must be one of ${DEVICES.join(', ')}`)
  return known
}

function readWitness(text: string): Witness {
  const witness = parseWitness(text)
  if (!witness) throw new UsageError('--witness is URL=VERIFIERKEY, as "sotto witness" prints the key')
  return witness
}

function readUnit(unit: string): 'record' | 'user' {
  if (unit !== 'record' && unit !== 'user') throw new UsageError('--unit must be record or user')
  return unit
}

function required(name: string, value: string | undefined): string {
  if (!value) throw new UsageError(`${name} is missing; see --help`)
  return value
}

function optional<K extends string>(key: K, name: string, text: string | undefined): { [N in K]?: number } {
  return (text === undefined ? {} : { [key]: positive(name, text, Number.isFinite) }) as { [N in K]?: number }
}

function positive(name: string, text: string, check: (value: number) => boolean): number {
  const value = Number(text)
  if (!check(value) || value <= 0) throw new UsageError(`${name} must be a positive number`)
  return value
}

async function main(): Promise<void> {
  const settings = readSettings()
  if (!settings) return console.log(HELP)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const coordinator = connectCoordinator(settings.coordinator, settings.token, stop.signal)
  const log = consoleLog(settings.json)
  const site = openSite(settings.state)
  try {
    const { dataset } = await persistently({ log, signal: stop.signal }, () => coordinator.self())
    // Read once before any lease, so that a broken file is told at the start and not in the middle of a run.
    await readUnits(settings.data, { unit: settings.policy.unit, labels: settings.labels })
    if (dataset.unit !== settings.policy.unit) {
      throw new WorkerError('unit_mismatch', `dataset ${dataset.id} is registered by ${dataset.unit}: see --unit`)
    }
    await runWorker({
      coordinator,
      site,
      dataset: { id: dataset.id },
      policy: settings.policy,
      openEngine: (spec, folder, masks) =>
        openSiteEngine(spec, folder, { ...settings, unit: settings.policy.unit, log }, masks),
      beatMs: settings.beatMs,
      ...(settings.idleSeconds === undefined ? {} : { idleSeconds: settings.idleSeconds }),
      random: (length) => randomFillSync(new Uint8Array(length)),
      log,
      signal: stop.signal,
    })
  } catch (error) {
    if (!stop.signal.aborted) throw error
  } finally {
    site.close()
  }
}

/** Errors of this project carry codes and names; any other may hold data, so that only its kind and place are printed. */
function explain(error: unknown): string {
  if (error instanceof UsageError) return error.message
  if (error instanceof Error && SPOKEN.has(error.name) && 'code' in error) return `${error.code}: ${error.message}`
  if (error instanceof Error)
    return `internal error: ${error.name}\n${(error.stack ?? '')
      .replace(error.message, '')
      .split('\n')
      .filter((line) => /^\s+at /.test(line))
      .join('\n')}`
  return 'internal error'
}
const SPOKEN: ReadonlySet<string> = new Set(['WorkerError', 'EngineError', 'DataError', 'PrivacyError'])

try {
  await main()
} catch (error) {
  console.error(`sotto worker: ${explain(error)}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
