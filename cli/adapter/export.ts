import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Run } from '../../shared/api/index.ts'
import { answering, withCoordinator } from '../connection/index.ts'
import { InputError, RunError } from '../failure.ts'
import { jsonLine, writeResult } from '../output.ts'
import { bytesIn, textIn } from '../reading.ts'
import { modelCard } from './card.ts'
import type { ExportGiven } from './command.ts'
import { adapterOf } from './fetched.ts'
import { merged, requireModel, wholeFolder } from './merge.ts'
import type { ModelConfig } from './modules.ts'
import { peftAdapter } from './peft.ts'

const size = z.int().positive().optional()
const configSchema = z.object({
  model_type: z.string(),
  _name_or_path: z.string().optional(),
  architectures: z.array(z.string()).optional(),
  ...{ hidden_size: size, n_embd: size, dim: size, num_attention_heads: size, n_head: size, n_heads: size },
  ...{ num_key_value_heads: size.nullable(), head_dim: size.nullable(), intermediate_size: size },
})

/** `sotto adapter export`. @throws InputError, RefusedError, UnreachableError, RunError */
export async function exportAdapter(id: string | undefined, given: ExportGiven): Promise<void> {
  if ((id === undefined) === (given.adapter === undefined)) throw new InputError('name a run, or a file by --adapter')
  const write = writerOf(given)
  if (id !== undefined) {
    await withCoordinator(given, async (session) => {
      const { bytes, run } = await adapterOf(id, session)
      if (given.format !== 'peft')
        await requireModel({ model: given.model!, variant: given.variant }, run.spec.model, session)
      const told = write(bytes, run)
      session.tell(told, wordsOf(told))
    })
    return
  }
  await answering(async () => {
    const told = write(bytesIn(given.adapter!), null)
    writeResult(given.json ? jsonLine({ data: told }) : wordsOf(told))
  })
}

type Told =
  | { readonly output: string; readonly format: 'peft'; readonly rank: number; readonly modules: string[] }
  | { readonly output: string; readonly format: 'onnx' | 'safetensors'; readonly changed: string[] }

function wordsOf(told: Told): string {
  const { output } = told
  if (told.format === 'peft')
    return `${told.modules.length} modules of rank ${told.rank} are in ${output}: PeftModel.from_pretrained(base, "${output}")\n`
  return `The model is in ${output}; ${told.changed.length} of its tensors have changed.\n`
}

type Write = (bytes: Uint8Array, run: Run | null) => Told

/** What writes the format that is asked for. @throws InputError where something is not named that it wants */
function writerOf(given: ExportGiven): Write {
  const { format, model, output } = given
  if (format === 'peft') return peftWriter(given)
  if (model === undefined) throw new InputError(`--format ${format} wants the folder of the base model: --model`)
  return (bytes, run) => {
    const changed = wholeFolder(output, (folder) => {
      const names = merged(bytes, { ...given, format, model }, folder)
      if (run) writeResult(modelCard(run, given.base ?? run.spec.model, format), join(folder, 'README.md'))
      return names
    })
    return { output, format, changed }
  }
}

function peftWriter({ config: file, model, base: named, output }: ExportGiven): Write {
  const place = file ?? (model === undefined ? undefined : join(model, 'config.json'))
  if (place === undefined) throw new InputError('name the config.json of the model by --config')
  const { _name_or_path: name, ...config } = configIn(place)
  const base = named ?? name
  if (!base) throw new InputError('name the base model by --base: its config does not')
  return (bytes, run) => {
    const made = peftAdapter(bytes, config as ModelConfig, base)
    try {
      mkdirSync(output, { recursive: true })
    } catch (error) {
      throw new RunError(`${output} cannot be made: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
    }
    writeResult(made.weights, join(output, 'adapter_model.safetensors'))
    writeResult(`${JSON.stringify(made.config, null, 2)}\n`, join(output, 'adapter_config.json'))
    if (run) writeResult(modelCard(run, base), join(output, 'README.md'))
    return { output, format: 'peft', rank: made.config.r, modules: made.config.target_modules }
  }
}

function configIn(file: string): z.infer<typeof configSchema> {
  const text = textIn(file)
  try {
    return configSchema.parse(JSON.parse(text))
  } catch {
    throw new InputError(`${file} is no config of a model`)
  }
}
