import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { MODEL, ROOT, records, request, Stage, startProcess, waitUntil } from './harness.ts'

interface Ended {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

describe('the command line over a real coordinator', () => {
  const stage = new Stage()
  let env: NodeJS.ProcessEnv
  let runFile: string
  let data: string

  const sotto = async (
    args: string[],
    more: { env?: NodeJS.ProcessEnv; input?: string; cwd?: string } = {},
  ): Promise<Ended> => {
    const child = spawn(process.execPath, [join(ROOT, 'cli/sotto.mjs'), ...args], {
      env: { ...env, ...more.env },
      ...(more.cwd === undefined ? {} : { cwd: more.cwd }),
    })
    const out: string[] = []
    const err: string[] = []
    child.stdout.on('data', (chunk) => out.push(String(chunk)))
    child.stderr.on('data', (chunk) => err.push(String(chunk)))
    child.stdin.end(more.input ?? '')
    const status = await new Promise<number | null>((resolve) => child.once('close', resolve))
    return { status, out: out.join(''), err: err.join('') }
  }
  const told = async (args: string[]) => {
    const { status, out, err } = await sotto([...args, '--json'])
    expect({ args, status, err }).toEqual({ args, status: 0, err: '' })
    return JSON.parse(out).data
  }

  beforeAll(async () => {
    await stage.startCoordinator()
    const { SOTTO_TOKEN: _, SOTTO_COORDINATOR: __, ...rest } = process.env
    env = { ...rest, XDG_CONFIG_HOME: join(stage.folder, 'config') }
    data = join(stage.folder, 'north.jsonl')
    writeFileSync(
      data,
      records('north', 60)
        .map((line) => `${JSON.stringify(line)}\n`)
        .join(''),
    )
    mkdirSync(join(stage.folder, 'runs'))
    runFile = join(stage.folder, 'runs', 'run.yaml')
    const { model: _model, ...body } = await request('0'.repeat(64), { rounds: 4, directions: 3 })
    // YAML 1.2 has JSON in it; the model is a folder, relative to the file.
    const yaml = Object.entries({ ...body, datasets: ['north'] }).map(
      ([name, value]) => `${name}: ${JSON.stringify(value)}`,
    )
    writeFileSync(runFile, `# a run\nmodel: ${JSON.stringify(MODEL)}\n${yaml.join('\n')}\n`)
  })
  afterAll(() => stage.close())

  it('knows no coordinator before it is told of one, and keeps what it is told to itself', async () => {
    const early = await sotto(['run', 'list', '--json'])
    expect([early.status, early.err]).toEqual([2, expect.stringContaining('sotto login')])
    expect(JSON.parse(early.out)).toMatchObject({ error: { code: 'invalid_input' } })
    const wrong = await sotto(['login', stage.url], { input: 'sotto_wrong_token\n' })
    expect([wrong.status, wrong.err]).toEqual([1, expect.stringContaining('unauthenticated')])
    const { status, out } = await sotto(['login', stage.url, '--json'], { input: `${stage.adminToken}\n` })
    expect(status).toBe(0)
    const { data: kept } = JSON.parse(out)
    expect(kept).toMatchObject({ url: stage.url, log: { name: 'sotto.local' } })
    expect(out).not.toContain(stage.adminToken)
    expect(statSync(kept.file).mode & 0o777).toBe(0o600)
    // A token is for the coordinator that it was given for.
    const elsewhere = await sotto(['run', 'list', '--coordinator', 'http://127.0.0.1:9'])
    expect([elsewhere.status, elsewhere.err]).toEqual([2, expect.stringContaining('no token for http://127.0.0.1:9')])
  })

  it('registers a dataset and its worker, and starts it', async () => {
    expect(await told(['run', 'list'])).toEqual([])
    const dataset = await told(['dataset', 'add', 'north', '--units', '60', '--epsilon', '12'])
    expect(dataset).toMatchObject({ id: 'north', units: 60, budget: { epsilon: 12, delta: 1e-5 } })
    expect((await sotto(['dataset', 'add', 'north', '--units', '61', '--epsilon', '12', '--json'])).out).toMatch(
      /^\{"error":\{"code":"conflict"/,
    )
    expect(await told(['dataset', 'list'])).toHaveLength(1)
    expect((await sotto(['dataset', 'show', 'north'])).out).toMatch(/DATASET[\s\S]*north +60 +record[\s\S]*open/)
    const worker = await told(['worker', 'create', 'north'])
    const child = startProcess(
      'cli/sotto.mjs',
      ['worker', 'start', '--coordinator', stage.url, '--data', data, '--state', join(stage.folder, 'north'), '--json'],
      { SOTTO_TOKEN: worker.token },
    )
    stage.processes.push(child)
    await waitUntil('the worker', () => child.output().includes('"started"'))
    expect((await told(['worker', 'list'])).map(({ id }: { id: string }) => id)).toEqual([worker.id])
    expect((await sotto(['worker', 'start', '--help'])).out).toContain('Exit codes: 0 stopped by a signal')
    expect((await sotto(['worker', 'start', '--nonsense'])).status).toBe(2)
  })

  it('plans, runs and waits, and takes the adapter away', async () => {
    const plan = await told(['run', 'plan', '-f', runFile])
    expect(plan).toMatchObject({ rounds: 4 })
    const model = await told(['model', 'push', MODEL])
    const { status, out, err } = await sotto(['run', 'create', '-f', runFile, '--wait', '--timeout', '60'])
    expect(status).toBe(0)
    expect(err).toMatch(
      /round 0 opened\nround 0 closed, private loss -?[\d.]+, epsilon [\d.]+\n[\s\S]*ended: completed\n/,
    )
    const id = /run-[0-9a-f]+/.exec(out)![0]
    const run = await told(['run', 'show', id])
    expect(run).toMatchObject({ id, state: 'completed', spec: { model: model.id } })
    expect(out).toContain(run.adapter.sha256.slice(0, 16))
    expect(await told(['run', 'watch', id])).toMatchObject({ id, state: 'completed' })
    expect((await told(['run', 'list'])).map((each: { id: string }) => each.id)).toEqual([id])
    const file = join(stage.folder, 'adapter.safetensors')
    const pulled = await told(['adapter', 'pull', id, '--output', file])
    expect(pulled.sha256).toBe(run.adapter.sha256)
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(pulled.sha256)
    expect((await sotto(['dataset', 'list'])).out).toContain('open')

    const store = join(stage.folder, 'mlruns')
    const { runId, experiment, metrics } = await told(['run', 'export', id, '--output', store])
    expect([experiment, metrics]).toEqual(['sotto', ['private_loss', 'signal_to_noise', 'epsilon.north']])
    const [folder] = readdirSync(store)
    const place = join(store, folder!, runId)
    const spends = readFileSync(join(place, 'metrics/epsilon.north'), 'utf8').trimEnd().split('\n')
    expect(spends.map((line) => line.split(' ')[2])).toEqual(['0', '1', '2', '3'])
    expect(Number(spends.at(-1)!.split(' ')[1])).toBe(run.spent[0].epsilon)
    expect(parse(readFileSync(join(place, 'meta.yaml'), 'utf8'))).toMatchObject({
      run_id: runId,
      run_name: id,
      status: 3,
    })
    expect(parse(readFileSync(join(store, folder!, 'meta.yaml'), 'utf8'))).toMatchObject({ experiment_id: folder })
    expect(readFileSync(join(place, 'params/epsilon'), 'utf8')).toBe('4')

    const peft = join(stage.folder, 'peft')
    const config = join(MODEL, 'config.json')
    const exported = await told([
      'adapter',
      'export',
      id,
      '--config',
      config,
      '--base',
      'spam-encoder',
      '--output',
      peft,
    ])
    expect(exported).toMatchObject({ output: peft, modules: ['cls.predictions.transform.dense'] })
    const made = JSON.parse(readFileSync(join(peft, 'adapter_config.json'), 'utf8'))
    expect(made).toMatchObject({ peft_type: 'LORA', base_model_name_or_path: 'spam-encoder', r: exported.rank })
    const card = readFileSync(join(peft, 'README.md'), 'utf8')
    expect(card).toContain(`| north | 60 records | ${run.spent[0].epsilon.toPrecision(3).slice(0, 4)}`)
    for (const fact of [run.specHash, run.stateHash, run.adapter.sha256, run.head.hash, 'base_model: "spam-encoder"'])
      expect(card).toContain(fact)
    const again = join(stage.folder, 'again')
    const asked = [
      'adapter',
      'export',
      '--adapter',
      file,
      '--config',
      config,
      '--base',
      'spam-encoder',
      '--output',
      again,
    ]
    expect((await sotto(asked)).out).toMatch(/1 modules of rank \d+ are in/)
    expect(readFileSync(join(again, 'adapter_model.safetensors'))).toEqual(
      readFileSync(join(peft, 'adapter_model.safetensors')),
    )
    for (const [change, said] of [
      [{ '--adapter': config }, 'no safetensors file'],
      [{ '--config': file }, 'no config of a model'],
      [{ '--base': '' }, 'name the base model'],
      [{ '--adapter': join(stage.folder, 'nowhere') }, 'ENOENT'],
    ] as const) {
      const usual: Record<string, string> = { '--adapter': file, '--config': config, '--base': 'x', '--output': again }
      const refused = await sotto(['adapter', 'export', ...Object.entries({ ...usual, ...change }).flat()])
      expect([refused.status, refused.err]).toEqual([2, expect.stringContaining(said)])
    }
    const odd = join(stage.folder, 'odd.json')
    writeFileSync(odd, JSON.stringify({ model_type: 'mamba' }))
    const unknown = await sotto([
      'adapter',
      'export',
      '--adapter',
      file,
      '--config',
      odd,
      '--base',
      'x',
      '--output',
      again,
    ])
    expect([unknown.status, unknown.err]).toEqual([2, expect.stringContaining('known are bert')])
    expect((await sotto(['adapter', 'export', '--config', config, '--output', again])).status).toBe(2)

    const merged = join(stage.folder, 'merged')
    const asOnnx = ['adapter', 'export', id, '--format', 'onnx', '--output', merged, '--model']
    const written = await told([...asOnnx, MODEL])
    expect(written).toMatchObject({ output: merged, format: 'onnx', changed: [expect.any(String)] })
    const whole = readFileSync(join(merged, 'README.md'), 'utf8')
    for (const fact of [
      run.specHash,
      run.head.hash,
      'joint clipping, gaussian noise',
      'differ in one record',
      '0.00001',
    ])
      expect(whole).toContain(fact)
    expect(readFileSync(join(merged, 'tokenizer.json'))).toEqual(readFileSync(join(MODEL, 'tokenizer.json')))
    expect(readFileSync(join(merged, 'onnx/model.onnx'))).not.toEqual(readFileSync(join(MODEL, 'onnx/model.onnx')))
    // Merged into the weights, it is another model: nothing is merged into it again, nor into a folder that has something.
    for (const [args, said] of [
      [[...asOnnx, MODEL], 'is not empty'],
      [[...asOnnx.with(6, join(stage.folder, 'other')), merged], 'is not the model of this run'],
      [[...asOnnx, join(stage.folder, 'nowhere')], 'is not the model of this run'],
      [[...asOnnx.with(6, join(MODEL, 'inside')), MODEL], 'inside the base model'],
      [[...asOnnx.with(6, join(stage.folder, 'other')), MODEL, '--variant', 'fp16'], 'has no variant fp16'],
      [asOnnx.slice(0, -1), 'wants the folder of the base model'],
      [[...asOnnx.with(4, 'safetensors').with(6, join(stage.folder, 'other')), MODEL], 'by --weights'],
      [[...asOnnx.with(4, 'gguf'), MODEL], 'Allowed choices'],
    ] as const) {
      const refused = await sotto([...args])
      expect([refused.status, refused.err]).toEqual([2, expect.stringContaining(said)])
    }
    expect(existsSync(join(stage.folder, 'other'))).toBe(false)
  })

  it('pulls a model, byte for byte, and what is missing of it alone', async () => {
    const { id } = await told(['model', 'push', MODEL])
    const output = join(stage.folder, 'pulled')
    const names = readdirSync(MODEL, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(MODEL, join(entry.parentPath, entry.name)))
    const all = names.reduce((sum, name) => sum + statSync(join(MODEL, name)).size, 0)
    expect(await told(['model', 'pull', id, '--output', output])).toEqual({
      ...{ id, output, files: names.length, bytes: all, kept: 0 },
    })
    const found = readdirSync(output, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    expect(found).toHaveLength(names.length)
    for (const name of names)
      expect(readFileSync(join(output, name)).equals(readFileSync(join(MODEL, name)))).toBe(true)
    expect((await told(['model', 'push', output])).id).toBe(id)

    writeFileSync(join(output, 'config.json'), '{}')
    const { bytes, kept } = await told(['model', 'pull', id, '--output', output])
    expect([bytes, kept]).toEqual([statSync(join(MODEL, 'config.json')).size, names.length - 1])
    const none = await sotto(['model', 'pull', 'f'.repeat(64), '--output', output, '--json'])
    expect([none.status, JSON.parse(none.out).error.code]).toEqual([1, 'not_found'])
    expect((await sotto(['model', 'pull', 'mine', '--output', output])).status).toBe(2)
  })

  it('steers a run, and says by its exit code how waiting ended', async () => {
    await told(['dataset', 'add', 'nobody', '--units', '60', '--epsilon', '12'])
    const other = join(stage.folder, 'runs', 'nobody.yaml')
    writeFileSync(other, readFileSync(runFile, 'utf8').replace('["north"]', '["nobody"]'))
    const late = await sotto(['run', 'create', '-f', other, '--wait', '--timeout', '1', '--json'])
    expect([late.status, late.err]).toEqual([4, expect.stringContaining('has not ended in 1 seconds')])
    expect(JSON.parse(late.out)).toMatchObject({ error: { code: 'late' } })
    const [, { id }] = await told(['run', 'list'])
    const stopped = spawn(process.execPath, [join(ROOT, 'cli/sotto.mjs'), 'run', 'watch', id], { env })
    await new Promise((resolve) => stopped.stderr.once('data', resolve))
    stopped.kill('SIGINT')
    expect(await new Promise((resolve) => stopped.once('exit', resolve))).toBe(130)
    expect(await told(['run', 'pause', id])).toMatchObject({ state: 'paused' })
    expect(await told(['run', 'resume', id])).toMatchObject({ state: 'running' })
    const watching = sotto(['run', 'watch', id, '--json'])
    expect(await told(['run', 'cancel', id])).toMatchObject({ state: 'cancelled' })
    const { status, out, err } = await watching
    expect([status, err]).toEqual([5, expect.stringContaining('ended: cancelled')])
    expect(JSON.parse(out)).toMatchObject({ data: { id, state: 'cancelled' } })
    const none = await sotto(['adapter', 'pull', id])
    expect([none.status, none.err]).toEqual([1, expect.stringContaining('has no adapter: it is cancelled')])
    expect(await told(['dataset', 'freeze', 'nobody'])).toMatchObject({ policy: { frozen: true } })
    const frozen = await sotto(['run', 'create', '-f', other])
    expect([frozen.status, frozen.err]).toEqual([1, expect.stringContaining('dataset_frozen')])
    expect(await told(['dataset', 'unfreeze', 'nobody'])).toMatchObject({ policy: { frozen: false } })
  })

  it('makes tokens and takes them back', async () => {
    const token = await told(['token', 'create', '--scope', 'auditor', '--expires-in', '3600'])
    const as = { env: { SOTTO_COORDINATOR: stage.url, SOTTO_TOKEN: token.token } }
    expect((await sotto(['run', 'list'], as)).status).toBe(0)
    const refused = await sotto(['token', 'list'], as)
    expect([refused.status, refused.err]).toEqual([1, expect.stringContaining('forbidden')])
    expect((await told(['token', 'list'])).map(({ id }: { id: string }) => id)).toContain(token.id)
    await told(['token', 'revoke', token.id])
    expect((await sotto(['run', 'list'], as)).err).toContain('unauthenticated')
    const [worker] = await told(['worker', 'list'])
    expect(await told(['worker', 'revoke', worker.id])).toEqual({ id: worker.id, revoked: true })
  })

  it.each<[string, string, RegExp]>([
    ['no fields', 'just words', /is no run: it has no fields/],
    ['broken YAML', 'a: [1', /run\.yaml/],
    ['no model', 'datasets: [north]', /model is the id of a model/],
    ['fields that do not fit', 'model: "."\ndatasets: []\nbudget: {epsilon: -1}', /datasets: [\s\S]*budget\.epsilon: /],
    ['a field twice', 'model: "."\nmodel: "."', /unique/],
    ['an alias', 'model: &a "."\ntask: *a', /YAML|alias/],
    ['a model that is not there', 'MODEL', /model nowhere is no folder/],
  ])('refuses a run file with %s, before anything is sent', async (_, text, said) => {
    const file = join(stage.folder, 'bad-run.yaml')
    const content = text === 'MODEL' ? readFileSync(runFile, 'utf8').replace(/^model: .*$/m, 'model: nowhere') : text
    writeFileSync(file, content)
    const { status, err } = await sotto(['run', 'plan', '-f', file])
    expect([status, err]).toEqual([2, expect.stringMatching(said)])
  })

  it('prints the schema of a run file, and forgets what it was told', async () => {
    const schema = JSON.parse((await sotto(['run', 'schema'])).out)
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(['model', 'task', 'space', 'datasets', 'budget']),
    )
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    const isRun = ajv.compile(schema)
    expect(isRun(parse(readFileSync(runFile, 'utf8'))), JSON.stringify(isRun.errors)).toBe(true)
    expect(isRun({ model: 'x', datasets: 'north' })).toBe(false)
    const hostile = join(stage.folder, 'hostile')
    mkdirSync(join(hostile, '.sotto'), { recursive: true })
    writeFileSync(join(hostile, '.sotto/dev-login.json'), JSON.stringify({ url: 'http://example.org:80', token: 'x' }))
    const led = await sotto(['run', 'list'], { cwd: hostile })
    expect([led.status, led.err]).toEqual([2, expect.stringContaining('not of this machine')])
    expect((await sotto(['login', '--forget'])).out).toBe('Forgotten.\n')
    expect((await sotto(['login', '--forget'])).out).toBe('Nothing was kept.\n')
    const away = { env: { SOTTO_COORDINATOR: 'http://127.0.0.1:9', SOTTO_TOKEN: 'sotto_any_token' } }
    const { status, out, err } = await sotto(['run', 'list', '--json'], away)
    expect([status, err]).toEqual([3, expect.stringContaining('can not be reached')])
    expect(JSON.parse(out)).toEqual({ error: { code: 'unreachable', message: 'the coordinator can not be reached' } })
  }, 60_000)

  it('shows an example with every command', async () => {
    const nouns: Record<string, string[]> = {
      run: ['plan', 'create', 'list', 'show', 'watch', 'pause', 'resume', 'cancel', 'export', 'schema'],
      dataset: ['add', 'list', 'show', 'freeze', 'unfreeze', 'count'],
      worker: ['create', 'list', 'revoke'],
      token: ['create', 'list', 'revoke'],
      model: ['check', 'prune', 'push', 'pull'],
      adapter: ['pull', 'export'],
    }
    for (const [noun, verbs] of Object.entries(nouns))
      for (const verb of verbs)
        expect((await sotto([noun, verb, '--help'])).out, `${noun} ${verb}`).toMatch(/\nExamples?\n {2}\S/)
    expect((await sotto(['login', '--help'])).out).toMatch(/\nExamples\n {2}\S/)
  }, 60_000)
})
