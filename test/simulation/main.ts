import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Failure, shrink, simulate, simulateSeed } from './simulate.ts'

const HELP = `Usage: npm run sim -- [--seeds N] [--from N] [--json]
       npm run sim -- --repro FILE

Simulates coordinator, workers, bucket, clock and network over the real state machines: each seed is a schedule of work, crashes, lost and
repeated messages, failed writes, restored databases and clocks that go wrong. After each operation the budgets, the logs and what
workers were told have to agree; at the end every run has to have ended, and every audit to hold.

  --seeds N     how many (default 200)
  --from N      the first of them (default 1)
  --out FOLDER  where a schedule that fails is written, as short as it could be made (default .sotto/simulation)
  --repro FILE  work off such a schedule again
  --json        print one line of JSON at the end
  --help        this text

Exit code 0: all hold; 1: one did not, and its file is named.
`

const OPTIONS = {
  seeds: { type: 'string', default: '200' },
  from: { type: 'string', default: '1' },
  out: { type: 'string', default: '.sotto/simulation' },
  repro: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const countOf = (text: string, name: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw new RangeError(`--${name} is a whole number`)
  return Number(text)
}

async function reproduce(file: string): Promise<number> {
  const { seed, schedule } = JSON.parse(readFileSync(file, 'utf8')) as Failure
  const failure = await simulate(schedule, { seed })
  console.log(failure ? `operation ${failure.at} of ${schedule.length}: ${failure.message}` : 'it holds')
  return failure ? 1 : 0
}

function keep(failure: Failure, folder: string): string {
  const file = join(folder, `seed-${failure.seed}.json`)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(failure, null, 2)}\n`)
  return file
}

async function main(): Promise<number> {
  const values = parseArgs({ options: OPTIONS }).values
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (values.repro !== undefined) return await reproduce(values.repro)
  const [from, seeds] = [countOf(values.from, 'from'), countOf(values.seeds, 'seeds')]
  const started = performance.now()
  const told = (done: number, failed: number | null) => {
    const seconds = Number(((performance.now() - started) / 1000).toPrecision(3))
    if (values.json) console.log(JSON.stringify({ from, seeds: done, failed, seconds }))
    else
      console.log(
        `${done} seeds from ${from} on: ${failed === null ? 'all hold' : `seed ${failed} fails`}, in ${seconds} s`,
      )
  }
  for (let seed = from; seed < from + seeds; seed++) {
    const failure = await simulateSeed(seed)
    if (process.stderr.isTTY) process.stderr.write(`\r${seed - from + 1} of ${seeds}`)
    if (!failure) continue
    console.error(`\nseed ${seed}, operation ${failure.at}: ${failure.message}`)
    const least = await shrink(failure)
    const file = keep(least, values.out)
    console.error(`${least.schedule.length} operations are enough: npm run sim -- --repro ${file}`)
    told(seed - from + 1, seed)
    return 1
  }
  if (process.stderr.isTTY) process.stderr.write('\n')
  told(seeds, null)
  return 0
}

if (import.meta.main) {
  process.exitCode = await main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error))
    return 2
  })
}
