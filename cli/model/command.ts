import { type Command, InvalidArgumentError, Option } from 'commander'
import { asking, type ConnectionGiven } from '../connection/index.ts'
import type { PruneOptions } from './prune.ts'
import type { PullGiven } from './pull.ts'

/** Of `SCORES`, `Order` and `Scope`; the engine is loaded when a command runs, not to show its help. */
const CHOICES = {
  score: ['forward', 'magnitude', 'random'],
  order: ['highest', 'lowest'],
  scope: ['global', 'layer'],
} as const satisfies { [K in 'score' | 'order' | 'scope']: readonly PruneOptions[K][] }
const TOKENS_MAX = 8192
const QUERIES_MAX = 1024
const RADIUS_MAX = 1

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

JSON answer, in "data": {"model", "spaces": {"lora", "full"}, "memory", "speed"}; null stands for "not known" or "not measured".

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

interface PruneGiven extends PruneOptions {
  readonly keepEnd?: number
  readonly stages: number
  readonly output?: string
  readonly verify?: string
  readonly overlap: number
  readonly json?: true
}

const queryCount = (text: string): number => {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || count > QUERIES_MAX) {
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${QUERIES_MAX}.`)
  }
  return count
}

const STAGES_MAX = 64

const stageCount = (text: string): number => {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || count > STAGES_MAX) {
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${STAGES_MAX}.`)
  }
  return count
}

/** A number above 0, and at most 1. */
const shareOf = (text: string): number => {
  const share = Number(text)
  if (text.trim() === '' || !(share > 0 && share <= 1)) throw new InvalidArgumentError('It must be above 0, at most 1.')
  return share
}

const radiusOf = (text: string): number => {
  const radius = Number(text)
  if (text.trim() === '' || !(radius > 0 && radius <= RADIUS_MAX)) {
    throw new InvalidArgumentError(`It must be above 0, at most ${RADIUS_MAX}.`)
  }
  return radius
}

const seedOf = (text: string): string => {
  if (!/^[0-9a-f]{16}$/.test(text)) throw new InvalidArgumentError('It must be 16 lower-case hexadecimal digits.')
  return text
}

const patternOf = (text: string): RegExp => {
  try {
    return new RegExp(text)
  } catch {
    throw new InvalidArgumentError('It must be a regular expression.')
  }
}

const PRUNE_HELP = `
No data is read: the scores follow from the weights alone. The mask is a bitset over the entries of the tensors, in the
order of the answer. Files of "magnitude" and "random" are the same bytes on every machine. Those of "forward" are as a rule;
with --slopes, and the JSON answer that came with a mask, they are on every machine.

With --weighted the mask goes on behind the bitset: one byte for each kept entry, 64 times its factor.

With --stages, keep rates go from --keep to --keep-end, so that the trained part grows (or shrinks) from stage to stage.

JSON answer, in "data": {"space", "made", "layers", "slopes", "verified", "seconds"}; with --stages a list of them.

Examples
  sotto model prune models/all-MiniLM-L6-v2 --score forward --keep 0.01 --seed 00c0ffee00c0ffee --output mask.bin
  sotto model prune models/all-MiniLM-L6-v2 --score magnitude --keep 0.05 --scope layer --tensors 'layer\\.' --output mask.bin
  sotto model prune models/all-MiniLM-L6-v2 --score forward --keep 0.01 --seed 00c0ffee00c0ffee --verify mask.bin`

const choice = (name: keyof typeof CHOICES, what: string) =>
  new Option(`--${name} <${name}>`, what).choices(CHOICES[name])

const addPrune = (noun: Command) =>
  noun
    .command('prune')
    .description('which entries of the weights a pruned space trains, chosen without data')
    .argument('<dir>', 'folder of the model')
    .addOption(choice('score', 'what entries are ranked by').makeOptionMandatory())
    .requiredOption('--keep <rate>', 'share of the entries that is kept, above 0, at most 1', shareOf)
    .option('--keep-end <rate>', 'share that the last of several stages keeps; geometric between', shareOf)
    .option(
      '--stages <count>',
      'masks, one for each stage of a run: --output m.bin becomes m.0.bin, m.1.bin ...',
      stageCount,
      1,
    )
    .addOption(choice('order', 'which end of the ranking is kept').default('highest'))
    .addOption(choice('scope', 'whether entries compete with all others, or within their tensor').default('global'))
    .option('--weighted', 'the mask has a factor for each kept entry, from 1.2 to 0.8 by rank', false)
    .option('--tensors <regex>', 'only weights whose names it matches (default: all)', patternOf)
    .option('--variant <name>', 'which of several precisions: fp16 ... (default: the plain one)')
    .option('--seed <hex>', 'public seed of "forward" and "random": 16 hexadecimal digits', seedOf, '0'.repeat(16))
    .option('--queries <count>', 'directions of each estimate of "forward"', queryCount, 1)
    .option('--radius <radius>', 'radius of "forward"', radiusOf, 1e-3)
    .option('--tokens <count>', 'length of the repeated token of "forward"', tokenCount, 16)
    .option('--slopes <file>', 'JSON answer whose slopes are taken: the model is not run')
    .option('--output <file>', 'where the mask goes')
    .option('--verify <file>', 'make the mask again and compare it with this one')
    .option('--overlap <share>', 'share of the entries that must be the same', shareOf, 1)
    .option('--json', 'print JSON alone')
    .addHelpText('after', PRUNE_HELP)
    .action(async (dir: string, { json, ...given }: PruneGiven) => {
      const { runPrune } = await import('./run.ts')
      await runPrune(dir, { ...given, json: json === true })
    })

const PULL_HELP = `

Every file is checked by the hash and the length that the id of the model stands for. What is there and whole is not fetched again, so that a
command that broke off goes on when it is given again; no file has its name before it is whole.`

/** Adds the verbs of `sotto model`. */
export const describeModel = (noun: Command): void => {
  addCheck(noun)
  addPrune(noun)
  asking(
    noun
      .command('push')
      .description('register a model, and upload what the store does not have of it')
      .argument('<dir>', 'folder of the model'),
    '  sotto model push path/to/model',
  ).action(async (dir: string, given: ConnectionGiven) => {
    const { runPush } = await import('./push.ts')
    await runPush(dir, given)
  })
  asking(
    noun
      .command('pull')
      .description('the files of a model, from the store of a coordinator')
      .argument('<model>', 'its id, as "push" prints it')
      .requiredOption('--output <folder>', 'where they are written'),
    '  sotto model pull 0123...cdef --output models/mine',
    PULL_HELP,
  ).action(async (id: string, given: PullGiven) => {
    const { runPull } = await import('./pull.ts')
    await runPull(id, given)
  })
}
