/** The command itself, started as a process. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const ENTRY = fileURLToPath(new URL('./sotto.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'sotto-cli-'))

interface Ended {
  readonly status: number
  readonly out: string
  readonly err: string
}

const sotto = (args: readonly string[], input = '', node = process.execPath): Ended => {
  const { status, stdout, stderr } = spawnSync(node, [ENTRY, ...args], { input, encoding: 'utf8' })
  return { status: status ?? -1, out: stdout, err: stderr }
}
const answered = (args: readonly string[], input?: string) => {
  const { status, out, err } = sotto(args, input)
  expect({ status, err }).toEqual({ status: 0, err: '' })
  return out
}
/** One line of JSON, and nothing beside the data in it. */
const dataOf = (args: readonly string[], input?: string) => {
  const out = answered([...args, '--json'], input)
  expect(out).toMatch(/^\{"data":[^\n]+\}\n$/)
  const { data, ...more } = JSON.parse(out)
  expect(more).toEqual({})
  return data
}
const fileWith = (name: string, document: unknown) => {
  const file = join(folder, name)
  writeFileSync(file, JSON.stringify(document))
  return file
}

const stage = { noiseMultiplier: 1, samplingRate: 0.01, rounds: 1000 }
const schedule = { stages: [stage], delta: 1e-5 }
const FLAGS = '--noise-multiplier 1 --sampling-rate 0.01 --rounds 1000 --delta 1e-5'.split(' ')
const SPEND = ['epsilon', 'lower', 'rdp', 'seconds']
/** Of `schedule`, from reference tables, to the digits given. */
const EXACT = 1.828

interface SpendAnswer {
  epsilon: number
  lower: number
  rdp: number
  seconds: number
}
const expectBounds = ({ epsilon, lower, rdp, seconds }: SpendAnswer) => {
  expect(lower).toBeLessThan(EXACT + 1e-3)
  expect(epsilon).toBeGreaterThan(EXACT - 1e-3)
  expect(epsilon - lower).toBeLessThan(0.02)
  expect(rdp).toBeGreaterThan(epsilon)
  expect(seconds).toBeGreaterThan(0)
}

describe('sotto privacy epsilon', () => {
  test('--json answers flags by one object of four numbers', () => {
    const answer = dataOf(['privacy', 'epsilon', ...FLAGS])
    expect(Object.keys(answer)).toEqual(SPEND)
    expectBounds(answer)
  })

  test('a list on standard input is answered by a list', () => {
    const document = [schedule, { ...schedule, stages: [] }, { ...schedule, neighbours: 'replace-one' }]
    const answers = dataOf(['privacy', 'epsilon', '--file', '-'], JSON.stringify(document))
    expect(answers.map(Object.keys)).toEqual([SPEND, SPEND, SPEND])
    expectBounds(answers[0])
    expect(answers[1]).toMatchObject({ epsilon: 0, lower: 0, rdp: 0 })
    expect(answers[2].lower).toBeGreaterThan(answers[0].epsilon)
  })

  test('the table says what each number is', () => {
    const out = answered(['privacy', 'epsilon', '--file', fileWith('one.json', schedule)])
    expect(out).toMatch(/^gaussian, 1000 rounds, delta 1e-5, add-remove\n {2}epsilon +1\.8\d+ +certified upper bound/)
    for (const name of SPEND) expect(out).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  })
})

describe('sotto privacy calibrate', () => {
  const calibrated = (args: string[]) => dataOf(['privacy', 'calibrate', ...args])

  test('finds the noise of a schedule, and that noise keeps the target', () => {
    const stages = [
      { samplingRate: 0.01, rounds: 500 },
      { samplingRate: 0.02, rounds: 100, noiseRatio: 2 },
    ]
    const file = fileWith('goal.json', { stages, delta: 1e-5, targetEpsilon: 2 })
    const answer = calibrated(['--file', file])
    expect(Object.keys(answer)).toEqual(['noiseMultiplier', ...SPEND])
    expect(answer.epsilon).toBeLessThanOrEqual(2)
    expect(answer.epsilon).toBeGreaterThan(1.9)
    const noises = stages.map(({ noiseRatio = 1, ...rest }) => ({
      ...rest,
      noiseMultiplier: answer.noiseMultiplier * noiseRatio,
    }))
    const check = fileWith('check.json', { stages: noises, delta: 1e-5 })
    expect(dataOf(['privacy', 'epsilon', '--file', check]).epsilon).toBeLessThanOrEqual(2)
  })

  test('finds the rounds and the rate that the same budget allows', () => {
    const budget = ['--target-epsilon', '2', '--delta', '1e-5', '--noise-multiplier', '1']
    const rounds = calibrated(['--solve', 'rounds', ...budget, '--sampling-rate', '0.01'])
    expect(Object.keys(rounds)).toEqual(['rounds', ...SPEND])
    expect(rounds.rounds).toBeGreaterThan(1000)
    expect(rounds.epsilon).toBeLessThanOrEqual(2)
    const rate = calibrated(['--solve', 'sampling-rate', ...budget, '--rounds', '1000'])
    expect(Object.keys(rate)).toEqual(['samplingRate', ...SPEND])
    expect(rate.samplingRate).toBeGreaterThan(0.01)
    expect(rate.epsilon).toBeLessThanOrEqual(2)
  })

  test('takes the noises of a whole schedule as ratios, and says so where both are given', () => {
    const stages = [
      { noiseMultiplier: 2, samplingRate: 0.01, rounds: 500 },
      { noiseMultiplier: 4, samplingRate: 0.02, rounds: 100 },
    ]
    const file = fileWith('whole.json', { stages, delta: 1e-5, targetEpsilon: 2 })
    const ratios = stages.map(({ noiseMultiplier: noiseRatio, ...rest }) => ({ ...rest, noiseRatio }))
    const same = fileWith('ratios.json', { stages: ratios, delta: 1e-5, targetEpsilon: 2 })
    const { seconds: _, ...answer } = calibrated(['--file', file])
    expect(calibrated(['--file', same])).toMatchObject(answer)
    const both = fileWith('both.json', { stages: [{ ...stages[0], noiseRatio: 1 }], delta: 1e-5, targetEpsilon: 2 })
    expect(sotto(['privacy', 'calibrate', '--file', both])).toMatchObject({
      status: 2,
      err: expect.stringMatching(/^sotto: stages\[0\]\.noiseRatio cannot go with noiseMultiplier/),
    })
    expect(sotto(['privacy', 'calibrate', ...FLAGS, '--target-epsilon', '2']).err).toMatch(
      /^sotto: --noise-multiplier is/,
    )
  })
})

describe('sotto privacy curve', () => {
  const two = {
    ...schedule,
    stages: [
      { ...stage, rounds: 30 },
      { ...stage, rounds: 70, noiseMultiplier: 2 },
    ],
  }

  test('--json gives points that rise to the whole schedule', () => {
    const { points, ...rest } = dataOf(['privacy', 'curve', '--file', fileWith('two.json', two), '--points', '6'])
    expect(rest).toEqual({ delta: 1e-5, neighbours: 'add-remove', stageEnds: [30, 100] })
    expect(points.map(({ round }: { round: number }) => round)).toEqual([20, 30, 40, 60, 80, 100])
    expect(points.map(Object.keys)).toEqual(points.map(() => ['round', 'epsilon', 'lower', 'rdp']))
    const lowers: number[] = points.map(({ lower }: SpendAnswer) => lower)
    expect(lowers).toEqual([...lowers].sort((a, b) => a - b))
  })

  test('draws the spend and the profile into files', () => {
    const [spend, profile] = [join(folder, 'spend.svg'), join(folder, 'profile.svg')]
    const asked = ['privacy', 'curve', '--file', fileWith('two.json', two), '--points', '5', '--output']
    expect(answered([...asked, spend])).toBe('')
    expect(answered([...asked, profile, '--against', 'epsilon'])).toBe('')
    for (const text of ['Renyi bound', 'certified bound', 'stage 2', 'rounds released']) {
      expect(readFileSync(spend, 'utf8')).toContain(`>${text}</text>`)
    }
    for (const text of ['δ = 1e-5', 'epsilon', 'delta'])
      expect(readFileSync(profile, 'utf8')).toContain(`>${text}</text>`)
  })
})

describe('what is refused', () => {
  test.each([
    [['privacy', 'epsilon', '--file', '-'], '{"stages": [', /^sotto: standard input is not JSON/],
    [
      ['privacy', 'epsilon', '--file', '-'],
      '{"stages": [], "delta": 1e-5, "sigma": 1}',
      /^sotto: sigma is no known field\n$/,
    ],
    [['privacy', 'epsilon', '--rounds', '5'], '', /--sampling-rate is missing/],
    [['privacy', 'epsilon', '--delta', 'small'], '', /--delta <number>/],
    [['privacy', 'curve', '--points', '0', ...FLAGS], '', /from 1 to/],
    [['privacy', 'curve', '--file', '-'], '[]', /needs --json/],
    [['privacy', 'spend'], '', /unknown command/],
    [['secrecy'], '', /unknown command/],
    [[], '', /Usage: sotto/],
  ])('%j with %j on standard input: exit code 2, words on standard error alone', (args, input, words) => {
    const { status, out, err } = sotto(args, input)
    expect({ status, out }).toEqual({ status: 2, out: '' })
    expect(err).toMatch(words)
  })

  test.each([
    [['privacy', 'epsilon', '--file', '-'], '{"stages": [', 2, 'invalid_input', /^standard input is not JSON/],
    [['privacy', 'epsilon', '--file', '-'], '{}', 2, 'invalid_input', /^stages is missing\ndelta is missing$/],
    [['privacy', 'epsilon', '--sigma', '1'], '', 2, 'invalid_input', /--sigma/],
    [['privacy', 'spend'], '', 2, 'invalid_input', /unknown command/],
    [['privacy', 'curve', ...FLAGS, '--output', '/nowhere/x.svg'], '', 1, 'failed', /cannot be written: ENOENT/],
    [['model', 'check', folder], '', 2, 'missing_model_file', /onnx/],
    [['dataset', 'count', join(folder, 'none.jsonl'), '--epsilon', '8'], '', 2, 'no_file', /none\.jsonl/],
    [['run', 'create', '--wait'], '', 2, 'invalid_input', /--file/],
    [['audit', 'run', 'run-1', '--from', folder, '--key', 'x'], '', 2, 'invalid_input', /--key/],
  ])('%j with --json is told as one line of JSON, with the same exit code', (args, input, code, name, words) => {
    const { status, out, err } = sotto([...args, '--json'], input)
    expect({ status, lines: out.split('\n').length }).toEqual({ status: code, lines: 2 })
    expect(JSON.parse(out)).toEqual({ error: { code: name, message: expect.stringMatching(words) } })
    expect(err).not.toBe('')
  })

  test('help is no failure, and no JSON', () => {
    expect(answered(['privacy', 'epsilon', '--json', '--help'])).toMatch(/^Usage: /)
  })

  test('a file that cannot be written is a failure, not a refusal', () => {
    const { status, err } = sotto([
      'privacy',
      'curve',
      ...FLAGS,
      '--points',
      '1',
      '--output',
      join(folder, 'no/where.svg'),
    ])
    expect({ status, err }).toEqual({ status: 1, err: expect.stringContaining('cannot be written: ENOENT') })
  })
})

describe('--help', () => {
  test('lists nouns, verbs, and per verb its flags and examples', () => {
    expect(answered(['--help'])).toMatch(/privacy {2}/)
    for (const verb of ['epsilon', 'calibrate', 'curve']) {
      expect(answered(['privacy', verb, '--help'])).toMatch(new RegExp(`--sampling-rate[^]*sotto privacy ${verb} --`))
    }
  })
})

describe.skipIf(process.platform === 'win32')('a process among others', () => {
  test('an interrupt ends it, even while it waits for its input', async () => {
    const child = spawn(process.execPath, [ENTRY, 'privacy', 'epsilon', '--file', '-'])
    const ended = once(child, 'exit')
    await once(child, 'spawn')
    child.kill('SIGINT')
    // No code but the signal, which shells report as 130.
    expect(await ended).toEqual([null, 'SIGINT'])
  })

  const older = (process.env.PATH ?? '')
    .split(delimiter)
    .map((each) => join(each, 'node'))
    .find((node) => /^v(18|20|22)\./.test(spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout ?? ''))
  const suite = `under an older Node${older ? '' : ' (skipped: no Node 18 to 22 on PATH)'}`
  test.skipIf(!older)(`${suite}, the one that came with the packages answers`, () => {
    const { status, err } = sotto(['privacy', 'epsilon', '--file', '-', '--json'], '{"stages": []}', older)
    expect({ status, err }).toEqual({ status: 2, err: 'sotto: delta is missing\n' })
  })

  test.skipIf(!older)(`${suite}, and an interrupt reaches it`, async () => {
    const child = spawn(older!, [ENTRY, 'privacy', 'epsilon', '--file', '-'])
    const ended = once(child, 'exit')
    setTimeout(() => child.kill('SIGINT'), 1000)
    expect(await ended).toEqual([130, null])
  })
})
