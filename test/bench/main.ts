import { parseArgs } from 'node:util'
import { audit } from './audit.ts'
import { coordinator } from './coordinator.ts'
import { engine } from './engine.ts'
import { kernels } from './kernels.ts'
import { pages } from './pages.ts'
import { privacy } from './privacy.ts'
import { quantised } from './quantised.ts'
import { convergence } from './utility/convergence.ts'
import { compareUtility } from './utility/index.ts'
import { utility as demoUtility } from './utility.ts'

const OPTIONS = {
  seeds: { type: 'string', default: '3' },
  model: { type: 'string' },
  data: { type: 'string' },
  text: { type: 'string' },
  tasks: { type: 'string' },
  methods: { type: 'string' },
  epsilons: { type: 'string' },
  out: { type: 'string' },
  encoder: { type: 'string', default: 'table' },
  directions: { type: 'string', default: 'signs' },
  tune: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

const HELP = `Usage: npm run bench -- [audit|convergence|coordinator|engine|kernels|pages|privacy|quantised|utility ...] [options]

  audit       random tamperings of a run's objects that are found; replay of 10,000 rounds, spend of as many charges
  convergence error on a quadratic after many rounds, by K and by sigma (--out: SVG plot)
  coordinator durable reports a second, the overhead of a round, and memory of waiting workers, on one Node process
  engine      a round's forwards as a ratio to plain inference of the same sequences, in every space; peak memory; PyTorch,
              where $SOTTO_PYTHON or python3 has torch and onnx
  kernels     directions, perturbation and update in WASM SIMD and plain TypeScript, nanoseconds a weight
  pages       of a run of 10,000 rounds in Chromium: weight, first paint, longest frame while scrolling and zooming
  privacy     accountant, calibration, noise and sampling, as operations a second
  quantised   what the variants of a model folder cost in the finite differences and gain in time (--model, --text)
  utility     held-out accuracy of the demo's run over several seeds, private, without noise, and bag of words; with --model and
              --data: methods against each other on public tasks, with a results file that the next start goes on from

  --seeds N          seeds of utility (default 3)
  --model DIR        quantised: folder with several variants under onnx/; utility: what test/models/export-sentences.py wrote
  --text FILE        texts, one a line
  --json             audit, coordinator, engine, pages: one JSON document as the last line

Of utility with --model:
  --data DIR         folder of the tasks: NAME/train.tsv and so on, text, tab, label
  --out FILE         finished cells, one JSON document a line
  --tasks LIST       default sst2,trec6,subj
  --methods LIST     default: all
  --epsilons LIST    default 2,6
  --tune             tries each method's grid on dev rows, in the place of the table on test rows
  --encoder KIND     table (default): sentence vectors made once; whole: the encoder in each run
  --directions KIND  signs (default) for all methods, or published: as the preset draws them, which is slower

Everything is measured within one run; ratios travel between machines, seconds do not.`

type Values = ReturnType<typeof parsed>['values']

const parsed = () => parseArgs({ options: OPTIONS, allowPositionals: true })

/** @throws RangeError */
function oneOf<Name extends string>(what: string, text: string, known: readonly Name[]): Name {
  const found = known.find((name) => name === text)
  if (found === undefined) throw new RangeError(`--${what}: no ${text}; there are ${known.join(', ')}`)
  return found
}

async function utility(values: Values): Promise<void> {
  const { model, data, out, seeds, encoder, directions, ...asked } = values
  if (model === undefined && data === undefined) return demoUtility({ seeds: Number(seeds) })
  if (model === undefined || data === undefined || out === undefined)
    throw new RangeError('utility with --model wants --data and --out as well')
  await compareUtility({
    ...{ ...asked, model, data, out, seeds },
    encoder: oneOf('encoder', encoder, ['whole', 'table']),
    directions: oneOf('directions', directions, ['signs', 'published']),
  })
}

const BENCHES: Readonly<Record<string, (values: Values) => Promise<unknown>>> = {
  audit,
  convergence,
  coordinator,
  engine,
  kernels: async () => kernels(),
  pages,
  privacy,
  quantised: ({ model, text }) => quantised({ model, text }),
  utility,
}

function fail(message: string): void {
  console.error(message)
  process.exitCode = 2
}

async function main(): Promise<void> {
  const { values, positionals } = parsed()
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name))
  if (unknown.length > 0) return fail(`unknown: ${unknown.join(', ')}\n\n${HELP}`)
  if (values.help) return console.log(HELP)
  for (const name of names) {
    console.log(`\n## ${name}\n`)
    try {
      await BENCHES[name]!(values)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      return fail(error.message)
    }
  }
}

await main()
