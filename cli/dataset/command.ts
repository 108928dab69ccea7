import { type Command, InvalidArgumentError, Option } from 'commander'
import { asking, type ConnectionGiven } from '../connection/index.ts'
import type { AddGiven } from './remote.ts'

/** The verbs of `sotto dataset` and what each of them takes. */

const numberIn =
  (least: number, most: number, words: string) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !(value > least && value <= most)) throw new InvalidArgumentError(`It must be ${words}.`)
    return value
  }

const COUNT_HELP = `
For a dataset whose number of units is itself private. The count has Gaussian noise, which costs a part of the lifetime budget: 5 %
of its epsilon, unless --share says otherwise. Register the dataset with "units" and "count" of the answer; the coordinator
charges for it then, and reckons with the noised count as if it were the number.

Counted twice is released twice: the first answer is kept in .sotto beside the data, and given again to the same question.

JSON answer, in "data": {"units", "unit", "count": {"noiseMultiplier"}, "budget", "epsilon"}; epsilon is a certified upper bound of what the
count alone costs at the budget's delta.

Examples
  sotto dataset count mail.jsonl --epsilon 8
  sotto dataset count mail.jsonl --epsilon 8 --delta 1e-6 --unit user --share 0.02 --json`

export interface CountGiven {
  readonly epsilon: number
  readonly delta: number
  readonly share: number
  readonly unit: 'record' | 'user'
  readonly json: boolean
}

/** Adds the verbs of `sotto dataset`. */
export const describeDataset = (noun: Command): void => {
  noun
    .command('count')
    .description('a private count of units, for a dataset that does not declare them')
    .argument('<file>', 'JSONL, as a worker reads it')
    .requiredOption('--epsilon <epsilon>', 'of the lifetime budget', numberIn(0, 1000, 'above 0, at most 1000'))
    .option('--delta <delta>', 'of the lifetime budget', numberIn(0, 0.01, 'above 0, at most 0.01'), 1e-5)
    .option('--share <share>', 'of epsilon that the count may cost', numberIn(0, 0.5, 'above 0, at most 0.5'), 0.05)
    .addOption(new Option('--unit <unit>', 'what is counted').choices(['record', 'user']).default('record'))
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', COUNT_HELP)
    .action(async (file: string, given: CountGiven) => {
      const { runCount } = await import('./count.ts')
      await runCount(file, given)
    })
  asking(
    noun
      .command('add')
      .description('register a dataset with its lifetime budget')
      .argument('<dataset>', 'its id')
      .requiredOption(
        '--units <units>',
        'how many there are, or as "count" says',
        numberIn(0, 1e12, 'a whole number above 0'),
      )
      .addOption(
        new Option('--unit <unit>', 'what neighbouring datasets differ in')
          .choices(['record', 'user'])
          .default('record'),
      )
      .requiredOption('--epsilon <epsilon>', 'of the lifetime budget', numberIn(0, 1000, 'above 0, at most 1000'))
      .option('--delta <delta>', 'of the lifetime budget', numberIn(0, 0.01, 'above 0, at most 0.01'), 1e-5)
      .option(
        '--count-noise <deviation>',
        'where the units were counted: what "count" says',
        numberIn(0, 1e6, 'above 0'),
      ),
    '  sotto dataset add north --units 1100 --epsilon 8',
  ).action(async (id: string, given: AddGiven) => {
    const { addDataset } = await import('./remote.ts')
    await addDataset(id, given)
  })
  asking(
    noun.command('list').description('datasets, and what was spent of their budgets'),
    '  sotto dataset list --json | jq .data[].id',
  ).action(async (given: ConnectionGiven) => {
    const { listDatasets } = await import('./remote.ts')
    await listDatasets(given)
  })
  asking(
    noun.command('show').description('one dataset').argument('<dataset>', 'its id'),
    '  sotto dataset show north',
  ).action(async (id: string, given: ConnectionGiven) => {
    const { showDataset } = await import('./remote.ts')
    await showDataset(id, given)
  })
  for (const [verb, frozen, what] of [
    ['freeze', true, 'charge it for nothing more, from now on, whoever asks'],
    ['unfreeze', false, 'let runs charge it again'],
  ] as const) {
    asking(
      noun.command(verb).description(what).argument('<dataset>', 'its id'),
      `  sotto dataset ${verb} north`,
    ).action(async (id: string, given: ConnectionGiven) => {
      const { freezeDataset } = await import('./remote.ts')
      await freezeDataset(id, frozen, given)
    })
  }
}
