import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { readProject } from '../dev/project.ts'
import { readRunFile } from '../run/file.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const ZOO = join(ROOT, 'test/models/zoo')
const folder = mkdtempSync(join(tmpdir(), 'sotto-init-'))
afterAll(() => rmSync(folder, { recursive: true }))

const sotto = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'cli/sotto.mjs'), 'init', ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, out: stdout, err: stderr }
}
const dataFile = (name: string, lines: readonly object[]) => {
  writeFileSync(join(folder, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  return name
}
const labelled = (count: number, labels = ['ham', 'spam']) =>
  Array.from({ length: count }, (_, i) => ({ text: `mail ${i}`, label: labels[i % labels.length] }))

describe('sotto init', () => {
  it('writes a project and a run that fit a model with a mask, which are read back', () => {
    const data = [dataFile('north.jsonl', labelled(640)), dataFile('East.jsonl', labelled(1000))]
    const model = join(ROOT, 'demo/model/spam-encoder')
    const told = sotto('mail', '--model', model, ...data.flatMap((file) => ['--data', file]), '--json')
    expect({ status: told.status, err: told.err }).toEqual({ status: 0, err: '' })
    expect(JSON.parse(told.out).data).toMatchObject({ task: 'prompt-classification', datasets: ['north', 'east'] })
    const run = parse(readFileSync(join(folder, 'mail/run.yaml'), 'utf8'))
    expect(run).toMatchObject({
      task: { labels: { ham: 'ham', spam: 'spam' } },
      preset: { samplingRate: 0.1 },
      budget: { epsilon: 4, delta: 1e-5 },
    })
    expect(run.space.sites.map(({ name }: { name: string }) => name)).toEqual(['layer.2.ffn.down', 'head.transform'])
    expect(readRunFile(join(folder, 'mail/run.yaml')).model).toEqual({ folder: join(model) })
    const project = readProject(join(folder, 'mail/sotto.yaml'))
    expect(project.datasets.map(({ id, data: file, epsilon }) => [id, file, epsilon])).toEqual([
      ['north', join(folder, 'north.jsonl'), 8],
      ['east', join(folder, 'East.jsonl'), 8],
    ])
    expect(sotto('mail', '--model', model, '--data', data[0]!)).toMatchObject({
      status: 2,
      err: expect.stringContaining('exists'),
    })
  })

  it.each([
    [
      'bert-classes-dynamo-23',
      labelled(64, ['a', 'b', 'c']),
      { kind: 'sequence-classification', labels: { a: 0, b: 1, c: 2 } },
    ],
    ['llama-causal-dynamo-23', [{ prompt: 'a', completion: 'b' }], { kind: 'causal-lm', format: 'completion' }],
    ['qwen2-causal-legacy-17', [{ messages: [] }], { kind: 'causal-lm', format: 'messages' }],
  ])('fits the task to %s', (name, lines, task) => {
    const data = dataFile(`${name}.jsonl`, lines)
    expect(sotto(name, '--model', join(ZOO, name), '--data', data, '--unit', 'user', '--epsilon', '1')).toMatchObject({
      status: 0,
      err: '',
    })
    expect(parse(readFileSync(join(folder, name, 'run.yaml'), 'utf8')).task).toMatchObject(task)
  })

  it('says what does not fit, and none of the data', () => {
    const model = join(ZOO, 'bert-classes-dynamo-23')
    const cases: [string, string[], string][] = [
      ['one label', [dataFile('one.jsonl', labelled(9, ['x']))], 'one label'],
      ['too many labels', [dataFile('many.jsonl', labelled(9, ['a', 'b', 'c', 'd']))], '4 labels'],
      [
        'prompts for a classifier',
        [dataFile('prompts.jsonl', [{ prompt: 'secret', completion: 'x' }])],
        'what comes next',
      ],
      ['two forms', [dataFile('a.jsonl', labelled(4)), 'prompts.jsonl'], 'one run takes one form'],
      ['no form', [dataFile('odd.jsonl', [{ secret: 1 }])], 'has no line'],
      ['no file', ['nowhere.jsonl'], 'ENOENT'],
    ]
    for (const [what, files, said] of cases) {
      const { status, err } = sotto(`bad-${what}`, '--model', model, ...files.flatMap((file) => ['--data', file]))
      expect([what, status, err]).toEqual([what, 2, expect.stringContaining(said)])
      expect(err).not.toContain('secret')
    }
    writeFileSync(join(folder, 'broken.jsonl'), 'secret\n')
    const broken = sotto('bad', '--model', model, '--data', 'broken.jsonl')
    expect([broken.status, broken.err]).toEqual([2, 'sotto: broken.jsonl:1: the line is no JSON object\n'])
    expect(sotto('bad', '--model', '/nowhere', '--data', 'a.jsonl').status).toBe(2)
    expect(sotto('--help').out).toMatch(/\nExamples\n {2}sotto init/)
  })
})
