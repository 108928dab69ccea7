import { type Command, InvalidArgumentError, Option } from 'commander'
import { gathered } from '../gathered.ts'

const HELP = `
Looks at a model and at data, and writes two files beside the data: sotto.yaml, by which "sotto dev" starts a worker for each data file,
and run.yaml, a run that fits the model and the form of the lines. Both are a beginning: read them, and change what they say. Nothing
is written over.

  text and label                a class head: its classes in the order of the labels; else the labels stand at a mask
  prompt and completion         a causal model, the loss on the completion
  messages                      a causal model with a chat template

Exit codes: 0 done, 2 the command line, the model or the data were refused.

Examples
  sotto init --model path/to/model --data north.jsonl --data east.jsonl
  sotto init mailboxes --model path/to/model --data mailboxes/north.jsonl --epsilon 2`

export interface InitGiven {
  readonly model: string
  readonly data: string[]
  readonly unit: 'record' | 'user'
  readonly epsilon: number
  readonly json: boolean
}

const epsilonOf = (text: string): number => {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0 && value <= 1000))
    throw new InvalidArgumentError('It must be above 0, at most 1000.')
  return value
}

/** `sotto init`. */
export const describeInit = (command: Command): void => {
  command
    .argument('[folder]', 'where the files are written', '.')
    .requiredOption('--model <dir>', 'folder of the model')
    .requiredOption(
      '--data <file>',
      'JSONL of one dataset, which is called as the file is; may be given more than once',
      gathered,
    )
    .addOption(
      new Option('--unit <unit>', 'what neighbouring datasets differ in').choices(['record', 'user']).default('record'),
    )
    .option('--epsilon <epsilon>', 'what the run may spend of each; a lifetime is twice that', epsilonOf, 4)
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', HELP)
    .action(async (folder: string, given: InitGiven) => {
      const { init } = await import('../model/init.ts')
      await init(folder, given)
    })
}
