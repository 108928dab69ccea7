import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Run } from '../shared/api/index.ts'
import { dimensionOfStage, initialState, spaceOfStage, stateHash } from '../shared/zo/index.ts'
import { type Audit, auditRun } from './audit.ts'
import { bagOfWords } from './bag-of-words.ts'
import type { Client } from './client.ts'
import { Cluster } from './cluster.ts'
import { COORDINATORS, type CoordinatorKind } from './coordinator.ts'
import { Display } from './display.ts'
import { demoSpace, evaluate, openDemoEngine } from './evaluate.ts'
import { DemoFolder, type Saved } from './folder.ts'
import { type MailSplit, splitMail } from './mail/index.ts'
import { asJson, asText, type Result } from './report.ts'
import { BUDGET, LIFETIME_BUDGET, MAILBOXES, MODEL_FOLDER, runRequest } from './settings.ts'
import { trainHere } from './train.ts'
import { watch } from './watch.ts'

const HELP = `Usage: npm run demo [-- options]

Three private mailboxes fine-tune one spam filter: starts a coordinator and three workers on this machine, runs the whole
fine-tuning through the public API, and shows what was learned and what it cost in privacy.

  --json            print one JSON document as the last line of standard output
  --no-comparison   leave out the runs to compare with (no noise, bag of words)
  --coordinator K   where the coordinator runs: node (default), or workers, in the runtime of Cloudflare Workers
  --dir DIR         folder for everything the demo writes (default: .sotto/demo)
  --fresh           begin anew even where an unfinished run could go on
  --help            this text

Ctrl-C stops everything; the next start goes on with the run.`

interface Options {
  readonly json: boolean
  readonly comparison: boolean
  readonly fresh: boolean
  readonly coordinator: CoordinatorKind
  readonly folder: DemoFolder
}

/** Who looks on, and may stop it. */
interface Watcher {
  readonly display: Display
  readonly signal: AbortSignal
}

function readOptions(): Options | null {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      'no-comparison': { type: 'boolean', default: false },
      coordinator: { type: 'string', default: 'node' },
      dir: { type: 'string', default: '.sotto/demo' },
      fresh: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const coordinator = COORDINATORS.find((kind) => kind === values.coordinator)
  if (!coordinator) throw new Error(`--coordinator is one of ${COORDINATORS.join(', ')}`)
  return {
    coordinator,
    json: values.json,
    comparison: !values['no-comparison'],
    fresh: values.fresh,
    folder: new DemoFolder(resolve(values.dir)),
  }
}

/** Registers model, mailboxes and workers, and submits the run: what a platform engineer does through the API. */
async function submit(client: Client, split: MailSplit): Promise<{ run: Run; tokens: Record<string, string> }> {
  const model = await client.uploadModel(MODEL_FOLDER)
  const tokens: Record<string, string> = {}
  for (const id of MAILBOXES) {
    await client.createDataset({ id, units: split.mailboxes[id].length, unit: 'record', budget: LIFETIME_BUDGET })
    tokens[id] = (await client.createWorker(id)).token
  }
  const run = await client.createRun(runRequest(model, await demoSpace()))
  return { run, tokens }
}

/** The run of this demo: the unfinished one, or a new one. */
async function begin(
  options: Options,
  split: MailSplit,
  stop: AbortController,
  display: Display,
): Promise<{ cluster: Cluster; saved: Saved }> {
  const earlier = options.fresh ? null : options.folder.saved()
  if (!earlier) options.folder.prepare(split)
  const adminToken = earlier?.adminToken ?? `sotto_${randomBytes(32).toString('base64url')}`
  const cluster = await Cluster.start(earlier?.coordinator ?? options.coordinator, options.folder, adminToken, stop)
  if (earlier) {
    display.step(`going on with ${earlier.run}`)
    return { cluster, saved: earlier }
  }
  const { run, tokens } = await submit(cluster.client, split)
  const saved: Saved = { coordinator: options.coordinator, adminToken, run: run.id, tokens, finished: false }
  options.folder.save(saved)
  const { noiseMultiplier, directions, samplingRate } = run.spec.stages[0]!
  display.step(
    `${run.id} submitted: ${run.rounds} rounds of ${directions} directions, sampling rate ${samplingRate}, noise multiplier ${noiseMultiplier}`,
  )
  return { cluster, saved }
}

async function compare(options: Options, run: Run, audit: Audit, split: MailSplit, watcher: Watcher) {
  const { display, signal } = watcher
  const engine = await openDemoEngine(spaceOfStage(run.spec, 0), run.spec.seed)
  try {
    const start = await evaluate(engine, initialState(dimensionOfStage(run.spec, 0)), split.test)
    const trained = await evaluate(engine, audit.state, split.test)
    if (!options.comparison) return { start, private: trained, nonPrivate: null, bagOfWords: null }
    display.step('for comparison: the same method without noise, in this process alone (NOT private)')
    const free = await trainHere(run.spec, { engine, split }, 'none', (round) => {
      signal.throwIfAborted()
      if ((round + 1) % 50 === 0) display.step(`  without noise: round ${round + 1}/${run.rounds}`)
    })
    const nonPrivate = await evaluate(engine, free, split.test)
    display.step('for comparison: a bag of words under the same mechanism')
    return {
      start,
      private: trained,
      nonPrivate,
      bagOfWords: await bagOfWords(split, BUDGET, run.spec.seed, () => signal.throwIfAborted()),
    }
  } finally {
    await engine.close()
  }
}

async function play(options: Options, display: Display, stop: AbortController): Promise<Result> {
  const started = performance.now()
  display.step('reading the SpamAssassin corpus: three private mailboxes, a test set, public text')
  const split = await splitMail()
  const { cluster, saved } = await begin(options, split, stop, display)
  const onDeath = () => cluster.kill()
  process.once('exit', onDeath)
  try {
    for (const [id, token] of Object.entries(saved.tokens)) cluster.startWorker(id, token)
    const run = await watch(cluster.client, saved.run, display)
    if (run.state !== 'completed') throw new Error(`the run ended as ${run.state}: ${run.reason ?? ''}`)
    const audit = await auditRun(cluster.client, run.id)
    if (stateHash(audit.state) !== run.stateHash)
      throw new Error('the log replays to another state than the coordinator says')
    const adapter = options.folder.file('adapter.safetensors')
    writeFileSync(adapter, await cluster.client.download(run.adapter!.url))
    await cluster.stop()
    const scores = await compare(options, run, audit, split, { display, signal: stop.signal })
    options.folder.save({ ...saved, finished: true })
    return {
      ...scores,
      run,
      epsilon: audit.epsilon,
      stateHash: stateHash(audit.state),
      adapter,
      seconds: (performance.now() - started) / 1000,
    }
  } finally {
    await cluster.stop()
    process.removeListener('exit', onDeath)
  }
}

/** Options that make no sense are said, without a stack. */
function optionsOrExit(): Options | null {
  try {
    return readOptions()
  } catch (error) {
    console.error(`demo: ${error instanceof Error ? error.message : 'unknown option'}`)
    process.exit(2)
  }
}

async function main(): Promise<void> {
  const options = optionsOrExit()
  if (!options) return console.log(HELP)
  mkdirSync(options.folder.path, { recursive: true })
  // With --json the last line of standard output is the document, and progress goes to standard error.
  const display = new Display(options.json ? process.stderr : process.stdout)
  const stop = new AbortController()
  const interrupted = new Error('interrupted')
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(interrupted))
  try {
    const result = await play(options, display, stop)
    const out = options.json ? process.stderr : process.stdout
    out.write(asText(result))
    if (options.json) process.stdout.write(`${JSON.stringify(asJson(result))}\n`)
  } catch (error) {
    if (stop.signal.reason === interrupted) {
      console.error('\nstopped; "npm run demo" goes on with the run')
      process.exitCode = 130
      return
    }
    const cause = stop.signal.aborted ? stop.signal.reason : error
    console.error(`\ndemo: ${cause instanceof Error ? cause.message : 'failed'}`)
    process.exitCode = 1
  }
}

await main()
