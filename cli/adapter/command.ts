import { type Command, Option } from 'commander'
import { asking, type ConnectionGiven, withCoordinator } from '../connection/index.ts'
import { writeResult } from '../output.ts'
import type { Format } from './card.ts'
import { adapterOf } from './fetched.ts'

interface PullGiven extends ConnectionGiven {
  readonly output?: string
}

export interface ExportGiven extends PullGiven {
  readonly adapter?: string
  readonly format: Format
  readonly config?: string
  readonly model?: string
  readonly variant?: string
  readonly weights?: string[]
  readonly base?: string
  readonly output: string
}

const EXPORT_HELP = `

peft (the default): adapter_model.safetensors and adapter_config.json, whose base is the model of "transformers" that the ONNX model was
exported from. Kinds of models that are known: bert, roberta, distilbert, gpt2, opt, llama, mistral, qwen2, qwen3.

onnx: the folder of --model with the adapter merged into its weights, for ONNX Runtime, Optimum or Transformers.js. Of any space.

safetensors: the files of --weights with the adapter merged into them, for "transformers". Which parameter a weight is, is known by
what both hold: they must be those that the ONNX model was exported from.

All have a model card with what was spent. The adapter is that of a run, or a file that "pull" wrote. Quantised weights take no merging.`

/** Adds the verbs of `sotto adapter`. */
export const describeAdapter = (noun: Command): void => {
  asking(
    noun
      .command('export')
      .description('what was trained, in the form of other tools')
      .argument('[run]', 'its id')
      .option('--adapter <file>', 'in the place of a run: a file that "pull" wrote')
      .addOption(
        new Option('--format <format>', 'what is written').choices(['peft', 'onnx', 'safetensors']).default('peft'),
      )
      .option('--config <file>', 'peft: config.json of the model; left out: that of --model')
      .option('--model <folder>', 'onnx, safetensors: the base model')
      .option('--variant <name>', 'of the base model, such as fp16; left out: the plain one')
      .option('--weights <files...>', 'safetensors: those of the base model')
      .option('--base <name>', 'what the base model is called; left out: what its config says')
      .requiredOption('--output <folder>', 'where the files are written'),
    `  sotto adapter export run-0123456789abcdef --config model/config.json --base bert-base-uncased --output peft
  sotto adapter export run-0123456789abcdef --format onnx --model model --output merged
  sotto adapter export run-0123456789abcdef --format safetensors --model model --weights model.safetensors --output merged`,
    EXPORT_HELP,
  ).action(async (id: string | undefined, given: ExportGiven) => {
    const { exportAdapter } = await import('./export.ts')
    await exportAdapter(id, given)
  })
  asking(
    noun
      .command('pull')
      .description('the adapter of a run that has completed, as safetensors')
      .argument('<run>', 'its id')
      .option('--output <file>', 'left out: RUN.safetensors'),
    '  sotto adapter pull run-0123456789abcdef --output adapter.safetensors',
  ).action(async (id: string, given: PullGiven) => await pull(id, given))
}

async function pull(id: string, given: PullGiven): Promise<void> {
  await withCoordinator(given, async (session) => {
    const { bytes, sha256 } = await adapterOf(id, session)
    const file = given.output ?? `${id}.safetensors`
    writeResult(bytes, file)
    session.tell({ file, sha256, bytes: bytes.length }, `${bytes.length} bytes, SHA-256 ${sha256}, are in ${file}.\n`)
  })
}
