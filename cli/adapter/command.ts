import type { Command } from 'commander'
import { asking, type ConnectionGiven, withCoordinator } from '../connection/index.ts'
import { writeResult } from '../output.ts'
import { adapterOf } from './fetched.ts'

interface PullGiven extends ConnectionGiven {
  readonly output?: string
}

export interface ExportGiven extends PullGiven {
  readonly adapter?: string
  readonly config: string
  readonly base?: string
  readonly output: string
}

const EXPORT_HELP = `

PEFT's form: adapter_model.safetensors and adapter_config.json, whose base is the model of "transformers" that the ONNX model was exported
from; and a model card with what was spent. The adapter is that of a run, or a file that "pull" wrote. Kinds of models that are known: bert,
roberta, distilbert, gpt2, opt, llama, mistral, qwen2, qwen3.`

/** Adds the verbs of `sotto adapter`. */
export const describeAdapter = (noun: Command): void => {
  asking(
    noun
      .command('export')
      .description('the adapter in the form of PEFT, for other tools')
      .argument('[run]', 'its id')
      .option('--adapter <file>', 'in the place of a run: a file that "pull" wrote')
      .requiredOption('--config <file>', 'config.json of the model')
      .option('--base <name>', 'what the base model is called; left out: what its config says')
      .requiredOption('--output <folder>', 'where the files are written'),
    '  sotto adapter export run-0123456789abcdef --config model/config.json --base bert-base-uncased --output peft',
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
