import { type Command, InvalidArgumentError } from 'commander'

const TOKENS_MAX = 8192

interface Given {
  readonly variant?: string
  readonly tokens: number
  readonly json?: true
  readonly speed: boolean
}

const tokenCount = (text: string): number => {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 8 || count > TOKENS_MAX) {
    throw new InvalidArgumentError(`It must be a whole number from 8 to ${TOKENS_MAX}.`)
  }
  return count
}

const CHECK_HELP = `
DIR is a model in Hugging Face layout: config.json, tokenizer.json, onnx/model.onnx, and perhaps onnx/model_fp16.onnx,
onnx/model_q4.onnx and others beside it. docs/models.md says how to make one.

JSON answer: {"model", "spaces": {"lora", "full"}, "memory", "speed"}; null stands for "not known" or "not measured".

Examples
  sotto model check models/all-MiniLM-L6-v2
  sotto model check models/Llama-3.2-1B --variant q4 --tokens 256
  sotto model check models/all-MiniLM-L6-v2 --no-speed --json`

const addCheck = (noun: Command) =>
  noun
    .command('check')
    .description('what can be trained in a model, in which space, its memory and its speed')
    .argument('<dir>', 'folder of the model')
    .option('--variant <name>', 'which of several precisions: fp16, int8, q4 ... (default: the plain one)')
    .option('--tokens <count>', 'length of the records that memory and speed are told for', tokenCount, 128)
    .option('--no-speed', 'measure no speed')
    .option('--json', 'print JSON alone')
    .addHelpText('after', CHECK_HELP)
    .action(async (dir: string, { variant, tokens, json, speed }: Given) => {
      const { runCheck } = await import('./run.ts')
      await runCheck(dir, { ...(variant === undefined ? {} : { variant }), tokens, speed, json: json === true })
    })

/** Adds the verbs of `sotto model`. */
export const describeModel = (noun: Command): void => {
  addCheck(noun)
}
