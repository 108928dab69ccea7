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
  const { _name_or_path: name, ...config } = configIn(given.config)
  const base = given.base ?? name
  if (!base) throw new InputError('name the base model by --base: its config does not')
  const write = (bytes: Uint8Array, run: Run | null) =>
    written(given.output, { bytes, config: config as ModelConfig, base, run })
  if (id !== undefined) {
    await withCoordinator(given, async (session) => {
      const { bytes, run } = await adapterOf(id, session)
      const told = write(bytes, run)
      session.tell(told, wordsOf(told))
    })
    return
  }
  await answering(given, async () => {
    const told = write(bytesIn(given.adapter!), null)
    writeResult(given.json ? jsonLine({ data: told }) : wordsOf(told))
  })
}

interface Told {
  readonly output: string
  readonly rank: number
  readonly modules: string[]
}

const wordsOf = ({ output, rank, modules }: Told): string =>
  `${modules.length} modules of rank ${rank} are in ${output}: PeftModel.from_pretrained(base, "${output}")\n`

function written(
  output: string,
  { bytes, config, base, run }: { bytes: Uint8Array; config: ModelConfig; base: string; run: Run | null },
): Told {
  const made = peftAdapter(bytes, config, base)
  try {
    mkdirSync(output, { recursive: true })
  } catch (error) {
    throw new RunError(`${output} cannot be made: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
  writeResult(made.weights, join(output, 'adapter_model.safetensors'))
  writeResult(`${JSON.stringify(made.config, null, 2)}\n`, join(output, 'adapter_config.json'))
  if (run) writeResult(modelCard(run, base), join(output, 'README.md'))
  return { output, rank: made.config.r, modules: made.config.target_modules }
}

function configIn(file: string): z.infer<typeof configSchema> {
  const text = textIn(file)
  try {
    return configSchema.parse(JSON.parse(text))
  } catch {
    throw new InputError(`${file} is no config of a model`)
  }
}
