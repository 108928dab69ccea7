import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../e2e/harness.ts'

/** Why a command is not run here; `holds` is asked, so that the reason goes when what it says is no longer so. */
export interface Reason {
  readonly why: string
  readonly holds: () => boolean
}

/** What stands in the test for what every reader has of their own. */
export interface House {
  /** The reader's folder: a checkout. */
  readonly folder: string
  /** For 8787, which may be taken here. */
  readonly port: number
  /** For 8787 of a second coordinator, where the page has the first one stopped and later pages go on with it. */
  readonly otherPort: number
  /** For 8790. */
  readonly witnessPort: number
  /** A collector of OpenTelemetry. */
  readonly collector: string
}

/** Parts of a command, and what is typed in their place. */
type Exchange = (house: House) => Readonly<Record<string, string>>

/** What is known of one command of a page. All others are run, and have to end with 0. */
export interface Step {
  /** How the command begins, in single spaces. */
  readonly command: string
  readonly with?: Exchange
  /** What it says on either stream. */
  readonly says?: RegExp
  /** Words in capitals that later commands take from what it says: the first group of each. */
  readonly gives?: Readonly<Record<string, RegExp>>
  /** Files that are there afterwards, and not empty. */
  readonly writes?: readonly string[]
  /** It goes on until it is stopped; this is what it says when it is ready. */
  readonly stays?: RegExp
  /** As the page asks, it is done again for others, with all commands since `from`. */
  readonly again?: { readonly from: string; readonly site: string; readonly others: readonly string[] }
  /** Commands that stay, and that the page has the reader stop before this one: their beginnings. */
  readonly stopsFirst?: readonly string[]
  readonly not?: Reason
}

export interface Recipe {
  /** In every command of the page. */
  readonly with?: Exchange
  readonly steps: readonly Step[]
}

/** CI, or a test of its own, runs it: a line of that file says so. */
const ranBy = (file: string, line: string): Reason => ({
  why: `${file} runs it`,
  holds: () => readFileSync(join(ROOT, file), 'utf8').includes(line),
})
/** It made files of the repository once. */
const madeOnce = (file: string): Reason => ({
  why: `takes minutes and tools that are not installed; what it made is ${file}`,
  holds: () => existsSync(join(ROOT, file)),
})
const CLOUDFLARE: Reason = {
  why: 'needs an account of Cloudflare',
  holds: () => process.env.CLOUDFLARE_API_TOKEN === undefined,
}
/** The page itself says that nobody ran it, and what was checked instead. */
const saidIn = (page: string, words: string): Reason => ({
  why: `nobody ran it, as ${page} says: ${words}`,
  holds: () => readFileSync(join(ROOT, page), 'utf8').includes(words),
})
const CLUSTER = ranBy('test/e2e/cluster.test.ts', "startProcess('infra/cluster/start.ts'")

/** Folders of models that a reader has: the demo's, and one of the tests' with weights of 4 bits. */
const MODELS: Exchange = () => ({
  'models/all-MiniLM-L6-v2': 'models/encoder',
  'models/Llama-3.2-1B': 'test/models/zoo/llama-past-optimum-16',
  MODEL: 'models/encoder',
})
/** A second coordinator, where the page has the first one stopped. */
const onOtherPort: Exchange = ({ otherPort }) => ({ 8787: String(otherPort) })

/**
 * The pages in the order in which they are read. The coordinator and the workers of README stay for the pages after it. A page that is not
 * here is read last, and all its commands are run.
 */
export const RECIPES: Readonly<Record<string, Recipe>> = {
  'README.md': {
    steps: [
      { command: 'npm ci && npm run demo', not: ranBy('test/e2e/demo.test.ts', "startProcess('demo/main.ts', args)") },
      { command: 'npm ci && npm test', not: ranBy('.ci/run', 'npm test') },
      {
        command: 'npx sotto dev',
        with: ({ port }) => ({ 'sotto dev': `sotto dev --port ${port}` }),
        stays: /Ready at http:\S+: north, east, west\./,
      },
      {
        command: 'npx sotto run create -f examples/mailboxes/run.yaml --wait',
        says: /ended: completed/,
        gives: { RUN: /\b(run-[0-9a-f]+)/ },
      },
      { command: 'npm start', stopsFirst: ['npx sotto dev'], stays: /http:\/\/(localhost|127\.0\.0\.1):\d+/ },
      {
        command: 'npx sotto login http://localhost:8787 <',
        says: /Logged in to/,
        gives: { KEY: /signed by (\S+)\.\n/ },
      },
      { command: 'npx sotto worker create north', gives: { TOKEN: /\b(sotto_\S+)/ } },
      {
        command: 'SOTTO_TOKEN=TOKEN npx sotto worker start',
        stays: /started/,
        again: { from: 'npx sotto dataset add north', site: 'north', others: ['east', 'west'] },
      },
      { command: 'npx sotto model check', says: /head\.transform/ },
      { command: 'npx sotto init mine', writes: ['mine/run.yaml', 'mine/sotto.yaml'] },
      { command: 'npx sotto run plan', says: /noise/ },
      { command: 'npx sotto adapter pull', writes: ['adapter.safetensors'] },
      {
        command: 'npx sotto adapter export',
        writes: ['peft/adapter_model.safetensors', 'peft/adapter_config.json', 'peft/README.md'],
      },
      { command: 'npx sotto privacy epsilon', says: /epsilon +[\d.]+ +certified upper bound/ },
      { command: 'npx sotto privacy calibrate', says: /noise/ },
      { command: 'npx sotto privacy curve', writes: ['spend.svg'] },
      { command: 'npx sotto audit run', says: /epsilon/, writes: ['audit.html'] },
      { command: 'npx sotto audit dataset', says: /epsilon/ },
      { command: 'cat > .dev.vars', with: onOtherPort, writes: ['.dev.vars'] },
      { command: 'npx wrangler dev', with: onOtherPort, stays: /Ready on http/ },
      { command: 'sed -n', with: onOtherPort, says: /Logged in to/ },
    ],
  },
  'docs/cli.md': {
    with: MODELS,
    steps: [
      { command: 'npx sotto login', says: /Logged in to/ },
      { command: 'npx sotto run create', says: /ended: completed/, gives: { RUN: /\b(run-[0-9a-f]+)/ } },
      { command: 'npx sotto adapter pull', writes: ['adapter.safetensors'] },
      {
        // README's is in the folder already.
        command: 'npx sotto adapter export RUN --config',
        with: () => ({ '--output peft': '--output peft-again' }),
        writes: ['peft-again/adapter_model.safetensors'],
      },
      {
        command: 'npx sotto adapter export RUN --format onnx',
        writes: ['merged/onnx/model.onnx', 'merged/README.md'],
      },
      { command: 'npx sotto model push', gives: { ID: /\b([0-9a-f]{64})\b/ } },
      { command: 'npx sotto model pull ID', writes: ['model/onnx/model.onnx'] },
      { command: 'npx sotto run export RUN --output', writes: ['mlruns'] },
      {
        command: 'npx sotto run export RUN --otlp',
        with: ({ collector }) => ({ 'http://collector:4318': collector }),
      },
      { command: 'npx sotto token create', says: /sotto_/ },
      { command: 'npx sotto run schema', writes: ['run.schema.json'] },
      { command: 'npx sotto privacy epsilon --noise', says: /epsilon +1\.82\d* +certified upper bound/ },
      { command: "echo '{", says: /"noiseMultiplier"/ },
      { command: 'npx sotto privacy curve --file schedule.json --output', writes: ['spend.svg'] },
      { command: 'npx sotto privacy curve --file schedule.json --against', writes: ['profile.svg'] },
      { command: 'npx sotto dataset count', says: /epsilon/ },
      { command: 'npx sotto audit run', writes: ['audit.html'] },
      { command: 'npx sotto audit proof RUN --round', with: () => ({ '--round 12': '--round 2' }) },
      { command: 'npx sotto audit tiles', writes: ['tiles'] },
      {
        command: 'npx sotto model prune models/all-MiniLM-L6-v2 --score magnitude --keep 0.01',
        writes: ['grown.0.bin', 'grown.2.bin'],
      },
    ],
  },
  'docs/audit.md': {
    steps: [
      { command: 'curl', says: /"name":"sotto.local","publicKey":"/ },
      { command: 'npx sotto audit run RUN --from .sotto/coordinator/objects --key KEY --html', writes: ['audit.html'] },
      {
        command: 'npx sotto audit proof RUN --round',
        with: () => ({ '--round 12': '--round 1', 'round-12': 'round-1' }),
        writes: ['round-1.tlog-proof'],
      },
      { command: 'npx sotto audit proof RUN --check', with: () => ({ 'round-12': 'round-1' }) },
      {
        command: 'npx sotto witness',
        with: ({ witnessPort }) => ({ 'sotto witness': `sotto witness --listen 127.0.0.1:${witnessPort}` }),
        stays: /listen|ready/i,
        gives: { WITNESS_KEY: /(witness\.example\.org\+\S+)/ },
      },
      {
        command: 'npx sotto audit run RUN --from .sotto/coordinator/objects --key KEY --witness',
        with: ({ witnessPort }) => ({ 8790: String(witnessPort) }),
        writes: ['checkpoint'],
      },
      { command: 'npx sotto audit canaries plant', writes: ['made-up.jsonl', 'canaries.json'] },
      { command: 'npx sotto worker create made-up', gives: { TOKEN: /\b(sotto_\S+)/ } },
      { command: 'SOTTO_TOKEN=TOKEN npx sotto worker start', stays: /started/ },
      { command: 'npx sotto run create', says: /ended: completed/, gives: { RUN: /\b(run-[0-9a-f]+)/ } },
      { command: 'npx sotto audit canaries score', says: /at least[\s\S]*at most/ },
      {
        command: 'npx sotto audit tiles',
        with: () => ({ '--output tiles': '--output other-tiles' }),
        writes: ['other-tiles'],
      },
    ],
  },
  'docs/access.md': { steps: [{ command: 'curl -X POST $URL/v1/tokens', says: /"token":"sotto_/ }] },
  'docs/api.md': { steps: [{ command: 'curl -X POST $URL/v1/webhooks', says: /"secret":"whsec_/ }] },
  'docs/methods.md': {
    with: MODELS,
    steps: [{ command: 'npx sotto model prune', writes: ['models/encoder/masks/first.bin'] }],
  },
  'docs/models.md': {
    with: MODELS,
    steps: [
      { command: 'npx sotto model check', says: /head\.transform/ },
      { command: 'pip install', not: madeOnce('test/models/zoo/bert-masked-optimum-14/onnx/model.onnx') },
      { command: 'optimum-cli export', not: madeOnce('test/models/zoo/bert-masked-optimum-14/onnx/model.onnx') },
      { command: 'mv model/onnx', not: madeOnce('test/models/zoo/bert-masked-optimum-14/config.json') },
      { command: 'npx sotto model prune', says: /"mask"/ },
    ],
  },
  'docs/devices.md': {
    steps: [
      { command: 'npx sotto worker create north', gives: { TOKEN: /\b(sotto_\S+)/ } },
      { command: 'SOTTO_TOKEN=TOKEN npx sotto worker start', stays: /started/ },
    ],
  },
  'docs/deploy.md': {
    steps: [
      { command: 'SOTTO_TOKEN=TOKEN docker', not: saidIn('docs/deploy.md', 'no image was built') },
      { command: 'docker', not: saidIn('docs/deploy.md', 'no image was built') },
      { command: 'kubectl', not: saidIn('docs/deploy.md', 'no cluster ran it') },
      { command: 'helm', not: saidIn('docs/deploy.md', 'no cluster ran it') },
      { command: 'npx sotto worker create', not: saidIn('docs/deploy.md', 'no cluster ran it') },
      { command: 'cd infra/tofu', not: saidIn('docs/deploy.md', 'nothing was applied') },
      { command: 'npm ci && cd infra/tofu', not: saidIn('docs/deploy.md', 'nothing was applied') },
      { command: 'tofu apply', not: saidIn('docs/deploy.md', 'nothing was applied') },
      { command: 'aws', not: saidIn('docs/deploy.md', 'nothing was applied') },
      { command: 'SOTTO_TOKEN=TOKEN sky jobs', not: saidIn('docs/deploy.md', 'no machine was started') },
      { command: 'sbatch', not: saidIn('docs/deploy.md', 'the script with stand-ins for Slurm') },
    ],
  },
  'CONTRIBUTING.md': {
    steps: [
      { command: 'npm ci', not: ranBy('.ci/run', 'npm ci') },
      { command: 'npm run', not: ranBy('.ci/run', 'for check in lint typecheck boundaries') },
      { command: 'npx biome check', not: ranBy('.ci/run', 'for check in lint typecheck boundaries') },
      { command: 'npx vitest run', not: ranBy('.ci/run', 'npm test') },
    ],
  },
  'docs/operations.md': {
    steps: [
      { command: 'cp -Rp', stopsFirst: ['npm start'] },
      { command: 'npm start', stays: /http:\/\/(localhost|127\.0\.0\.1):\d+/ },
    ],
  },
  'docs/workers.md': {
    steps: [
      {
        command: 'npm run demo -- --coordinator workers',
        not: ranBy('test/e2e/demo.test.ts', "'--coordinator', 'workers'"),
      },
      { command: 'npx wrangler r2 bucket create', not: CLOUDFLARE },
      { command: 'npx wrangler secret put', not: CLOUDFLARE },
      // Everything but the upload.
      { command: 'npx wrangler deploy', with: () => ({ deploy: 'deploy --dry-run' }), says: /--dry-run: exiting now/ },
    ],
  },
  'docs/cluster.md': {
    steps: [
      { command: 'npm ci', not: ranBy('.ci/run', 'npm ci --no-audit --no-fund --prefix infra/cluster') },
      { command: 'npm run cluster', not: CLUSTER },
    ],
  },
  'demo/model/make/README.md': {
    steps: ['node demo/mail/write.ts', 'cd demo', 'python train.py', 'python export.py'].map((command) => ({
      command,
      not: madeOnce('demo/model/spam-encoder/onnx/model.onnx'),
    })),
  },
  'gpu-worker/engine/onnx/README.md': {
    steps: [{ command: 'protoc', not: madeOnce('gpu-worker/engine/onnx/onnx_pb.ts') }],
  },
  'test/models/README.md': {
    steps: ['python', 'pip install'].map((command) => ({ command, not: madeOnce('test/models/zoo/zoo.json') })),
  },
}
