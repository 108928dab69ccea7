import { parseArgs } from 'node:util'
import { engine } from './engine.ts'
import { kernels } from './kernels.ts'
import { privacy } from './privacy.ts'
import { quantised } from './quantised.ts'
import { utility } from './utility.ts'

const BENCHES = { engine, kernels, privacy, quantised, utility } as const
const HELP = `Usage: npm run bench -- [engine|kernels|privacy|quantised|utility ...] [options]

  engine      a round's forwards as a ratio to plain inference of the same sequences, in every space; peak memory; PyTorch,
              where $SOTTO_PYTHON or python3 has torch and onnx
  kernels     directions, perturbation and update in WASM SIMD and plain TypeScript, nanoseconds a weight
  privacy     accountant, calibration, noise and sampling, as operations a second
  quantised   what the variants of a model folder cost in the finite differences and gain in time (--model, --text)
  utility     held-out accuracy of the demo's run over several seeds, private, without noise, and bag of words

  --seeds N     seeds of utility (default 3)
  --model DIR   folder with several variants under onnx/
  --text FILE   texts, one a line
  --json        engine: one JSON document as the last line

Everything is measured within one run; ratios travel between machines, seconds do not.`

const { values, positionals } = parseArgs({
  options: {
    seeds: { type: 'string', default: '3' },
    model: { type: 'string' },
    text: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
  allowPositionals: true,
})
const { model, text, json } = values
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
const unknown = names.filter((name) => !(name in BENCHES))
if (values.help || unknown.length > 0) {
  console.log(unknown.length > 0 ? `unknown: ${unknown.join(', ')}\n\n${HELP}` : HELP)
  process.exitCode = unknown.length > 0 ? 2 : 0
} else {
  for (const name of names) {
    console.log(`\n## ${name}\n`)
    await BENCHES[name as keyof typeof BENCHES]({ seeds: Number(values.seeds), model, text, json })
  }
}
