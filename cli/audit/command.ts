import { type Command, InvalidArgumentError } from 'commander'
import { gathered } from '../gathered.ts'
import { wholeIn } from '../whole.ts'

/** The verbs of `sotto audit` and what each of them takes. */

const PLACE = `
Where the objects lie: the folder of a coordinator's objects (DIR/objects of "npm start -- --data DIR"), a copy of a bucket, or s3://BUCKET/FOLDER with
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where it is not AWS, SOTTO_S3_ENDPOINT and SOTTO_S3_REGION. No coordinator is asked.

The key and the name of the logs are what GET /v1/log says. Get them once, over a way that you trust, and keep them.`

const RUN_HELP = `
Checks the signed checkpoint and the tree under it, the form and order of all records, that each report was charged before and is
signed by its worker, the update of each round, the trained state bit for bit, the adapter, that no dataset spent more than the
run's budget, and that the log of each dataset knows of all that the run charged. With --witness, that every witness named saw no other log of the run. Epsilon is recomputed from the charges, as certified bounds and by Renyi divergences.
${PLACE}

Exit codes: 0 all of it holds, 1 something does not: the first object, and why, 2 the command line was refused, 3 the place could not be read.

Examples
  sotto audit run run-0123456789abcdef --from .sotto/objects --key KEY
  sotto audit run run-0123456789abcdef --from s3://sotto --key KEY --name sotto.example.org --html audit.html`

const DATASET_HELP = `
Checks the log of a dataset over all runs: the signed checkpoint and the tree under it, the form and order of all records, that nothing
was drawn that was not reserved, and that what is charged and reserved never exceeded the lifetime budget; then the log of every run
that it names, for charges that it does not know of. Epsilon is recomputed from the charges.
${PLACE}

Exit codes: 0 all of it holds, 1 something does not: the first object, and why, 2 the command line was refused, 3 the place could not be read.

Examples
  sotto audit dataset north --from .sotto/objects --key KEY
  sotto audit dataset north --from s3://sotto --key KEY --name sotto.example.org --json`

const TILES_HELP = `
Writes the log in the layout of c2sp.org/tlog-tiles: hashes of the tree in tiles of 256, records in bundles, and the signed checkpoint, for
tools that know that form. The log is audited first.
${PLACE}

Examples
  sotto audit tiles run-0123456789abcdef --from .sotto/objects --key KEY --output tiles`

const CANARIES_HELP = `
What the charges say that a run may have released, an attack on it can only stay below: here is the best one that is known, so that a
worker which adds too little noise is seen. Lines of random words, in the form of the data, are put into a file by the toss of a coin
each; after a run over the file all of them are scored by the releases in its log, and the guesses which were in refute every smaller
epsilon (arXiv 2305.08846).

The file is a dataset of its own, without a word of the real one: its run costs that one nothing, and its model is for nobody.

  sotto audit canaries plant mail.jsonl --count 400 --output made-up.jsonl --secret canaries.json
  sotto audit canaries score RUN --dataset made-up --from .sotto/objects --key KEY --model MODEL --secret canaries.json`

const PLANT_HELP = `
Examples
  sotto audit canaries plant mail.jsonl --count 400 --output made-up.jsonl --secret canaries.json`

const SCORE_HELP = `
The number of guesses must be fixed before anything is seen: half of the canaries, unless --guesses says otherwise.

Exit codes: 0 the guesses refute less than was charged, 1 they refute more, or the log does not hold, 2 the command line or a file was
refused, 3 the place could not be read.

Examples
  sotto audit canaries score run-0123456789abcdef --dataset made-up --from .sotto/objects --key KEY --model model --secret canaries.json`

const PROOF_HELP = `
A proof that the log has the closing record of a round, in the form of c2sp.org/tlog-proof with the record as its extra line: it can be
checked without the bucket, by --check or by any tool that knows the form.
${PLACE}

Examples
  sotto audit proof run-0123456789abcdef --round 12 --from .sotto/objects --key KEY --output round-12.tlog-proof
  sotto audit proof run-0123456789abcdef --check round-12.tlog-proof --key KEY`

export interface LogGiven {
  readonly key: string
  readonly name: string
}
export interface RunGiven extends LogGiven {
  readonly from: string
  readonly json: boolean
  readonly html?: string
  readonly witness?: string[]
  readonly cosigned?: string
}
export interface DatasetGiven extends LogGiven {
  readonly from: string
  readonly json: boolean
}
export interface TilesGiven extends LogGiven {
  readonly from: string
  readonly output: string
  readonly json: boolean
}
export interface PlantGiven {
  readonly count: number
  readonly output: string
  readonly secret: string
  readonly withData: boolean
  readonly json: boolean
}
export interface ScoreGiven extends LogGiven {
  readonly from: string
  readonly dataset: string
  readonly model: string
  readonly secret: string
  readonly guesses?: number
  readonly confidence: number
  readonly json: boolean
}
export interface ProofGiven extends LogGiven {
  readonly from?: string
  readonly round?: string
  readonly check?: string
  readonly output?: string
  readonly json: boolean
}

const withLog = (verb: Command): Command =>
  verb
    .requiredOption('--key <key>', 'public key of the logs, base64')
    .option('--name <name>', 'what the logs are called', 'sotto.local')

/** Adds the verbs of `sotto audit`. */
export const describeAudit = (noun: Command): void => {
  withLog(
    noun
      .command('run')
      .description('everything that a log promises, from the bucket alone')
      .argument('<run>', 'its id'),
  )
    .requiredOption('--from <place>', 'folder, or s3://bucket and a folder of it')
    .option('--html <file>', 'write a report that can be handed on')
    .option('--witness <url=key>', 'have the checkpoint cosigned; may be given more than once', gathered)
    .option('--cosigned <file>', 'write the checkpoint with the cosignatures')
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', RUN_HELP)
    .action(async (run: string, given: RunGiven) => {
      const { auditOf } = await import('./run.ts')
      await auditOf(run, given)
    })
  withLog(
    noun
      .command('dataset')
      .description('what a dataset spent over all runs, from the bucket alone')
      .argument('<dataset>', 'its id'),
  )
    .requiredOption('--from <place>', 'folder, or s3://bucket and a folder of it')
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', DATASET_HELP)
    .action(async (dataset: string, given: DatasetGiven) => {
      const { auditOfDataset } = await import('./dataset.ts')
      await auditOfDataset(dataset, given)
    })
  withLog(noun.command('proof').description('a proof of one round that needs no bucket').argument('<run>', 'its id'))
    .option('--from <place>', 'folder, or s3://bucket and a folder of it')
    .option('--round <round>', 'the round, from 0')
    .option('--check <file>', 'check a proof instead of making one')
    .option('--output <file>', 'where the proof is written; left out: standard output')
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', PROOF_HELP)
    .action(async (run: string, given: ProofGiven) => {
      const { proofOf } = await import('./proof.ts')
      await proofOf(run, given)
    })
  withLog(noun.command('tiles').description('the log as tiles, for other tools').argument('<run>', 'its id'))
    .requiredOption('--from <place>', 'folder, or s3://bucket and a folder of it')
    .requiredOption('--output <folder>', 'where they are written')
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', TILES_HELP)
    .action(async (run: string, given: TilesGiven) => {
      const { tilesOf } = await import('./tiles.ts')
      await tilesOf(run, given)
    })
  const canaries = noun
    .command('canaries')
    .description('a lower bound of what was released, by an attack, beside the upper one')
    .addHelpText('after', CANARIES_HELP)
  canaries
    .command('plant')
    .description('data of made-up lines, to run over as if they were real')
    .argument('<file>', 'JSONL, as a worker reads it')
    .option('--count <count>', 'canaries', wholeIn(2, 100_000), 400)
    .requiredOption('--output <file>', 'the file to run over')
    .requiredOption('--secret <file>', 'the canaries, and which of them are in it')
    .option(
      '--with-data',
      'put them among the lines of the data, which hide them and change nothing that is promised',
      false,
    )
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', PLANT_HELP)
    .action(async (file: string, given: PlantGiven) => {
      const { plant } = await import('./canaries.ts')
      plant(file, given)
    })
  withLog(
    canaries
      .command('score')
      .description('what the releases of a run say of them')
      .argument('<run>', 'a run over them'),
  )
    .requiredOption('--from <place>', 'folder, or s3://bucket and a folder of it')
    .requiredOption('--dataset <id>', 'as the file was registered')
    .requiredOption('--model <folder>', 'the model that was trained')
    .requiredOption('--secret <file>', 'what "plant" wrote')
    .option('--guesses <guesses>', 'canaries that are guessed at', wholeIn(1, 100_000))
    .option('--confidence <share>', 'of the lower bound', shareIn, 0.95)
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', SCORE_HELP)
    .action(async (run: string, given: ScoreGiven) => {
      const { score } = await import('./canaries.ts')
      await score(run, given)
    })
}

const shareIn = (text: string): number => {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0.5 && value < 1)) throw new InvalidArgumentError('It must be between 0.5 and 1.')
  return value
}
