import { parseArgs } from 'node:util'
import { engine } from './engine.ts'
import { privacy } from './privacy.ts'
import { utility } from './utility.ts'

const BENCHES = { engine, privacy, utility } as const
const HELP = `Usage: npm run bench -- [engine|privacy|utility ...] [--seeds N]

  engine    cost of a round's forwards as a ratio to plain inference of the same sequences
  privacy   accountant, calibration, noise and sampling, as operations a second
  utility   held-out accuracy of the demo's run over several seeds, private, without noise, and bag of words

Everything is measured within one run; ratios travel between machines, seconds do not.`

const { values, positionals } = parseArgs({
  options: { seeds: { type: 'string', default: '3' }, help: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
const unknown = names.filter((name) => !(name in BENCHES))
if (values.help || unknown.length > 0) {
  console.log(unknown.length > 0 ? `unknown: ${unknown.join(', ')}\n\n${HELP}` : HELP)
  process.exitCode = unknown.length > 0 ? 2 : 0
} else {
  for (const name of names) {
    console.log(`\n## ${name}\n`)
    await BENCHES[name as keyof typeof BENCHES]({ seeds: Number(values.seeds) })
  }
}
