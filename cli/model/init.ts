import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { stringify } from 'yaml'
import { EngineError, inspectModel, type ModelInspection } from '../../gpu-worker/engine/index.ts'
import { InputError, RunError } from '../failure.ts'
import type { InitGiven } from '../init/command.ts'
import { dataLine, writeResult } from '../output.ts'
import { textIn } from '../reading.ts'
import { readRunFile } from '../run/file.ts'

/** Records of a batch, in expectation, that a run begins with. */
const BATCH = 64
const ROUNDS = 250
const RANK = 8
const MAX_TOKENS = 128

type Form = 'text' | 'completion' | 'messages'

interface Data {
  readonly id: string
  readonly file: string
  readonly lines: number
  readonly form: Form
  readonly labels: ReadonlySet<string>
}

/** `sotto init`. @throws InputError, RunError */
export async function init(folder: string, given: InitGiven): Promise<void> {
  const files = { project: join(folder, 'sotto.yaml'), run: join(folder, 'run.yaml') }
  for (const file of Object.values(files))
    if (existsSync(file)) throw new InputError(`${file} exists: name another folder`)
  const data = given.data.map(dataIn)
  const [first] = data as [Data, ...Data[]]
  const odd = data.find(({ form }) => form !== first.form)
  if (odd)
    throw new InputError(`${odd.file} has lines of ${odd.form}, ${first.file} of ${first.form}: one run takes one form`)
  if (new Set(data.map(({ id }) => id)).size < data.length)
    throw new InputError('two files have one name, and so two datasets')
  const model = await inspected(given.model)
  const from = (path: string) => relative(resolve(folder), resolve(path)).replaceAll('\\', '/')
  const project = {
    datasets: data.map(({ id, file }) => ({
      id,
      data: from(file),
      unit: given.unit,
      epsilon: 2 * given.epsilon,
      delta: 1e-5,
    })),
  }
  const run = {
    model: from(given.model),
    task: taskOf(data, model),
    space: { kind: 'lora', rank: RANK, sites: sitesOf(model) },
    preset: { name: 'sotto', samplingRate: rateOf(data), rounds: ROUNDS },
    datasets: data.map(({ id }) => id),
    budget: { epsilon: given.epsilon, delta: 1e-5 },
  }
  write(folder, files.project, `# What "sotto dev" starts here.\n${stringify(project)}`)
  write(
    folder,
    files.run,
    `# sotto run plan -f ${files.run}; then create --wait. Every field: sotto run schema.\n${stringify(run)}`,
  )
  // What was written is read as any run file is.
  readRunFile(files.run)
  const told = { ...files, task: run.task.kind, sites: run.space.sites.map(({ name }) => name), datasets: run.datasets }
  const words = `${files.project} starts ${told.datasets.join(', ')}; ${files.run} trains ${told.sites.join(', ')} as ${told.task}.
Read both, then: sotto dev -f ${files.project}, and in another shell: sotto run plan -f ${files.run}
`
  writeResult(given.json ? dataLine(told) : words)
}

function write(folder: string, file: string, text: string): void {
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(file, text, { flag: 'wx' })
  } catch (error) {
    throw new RunError(`${file} cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
}

async function inspected(folder: string): Promise<ModelInspection> {
  try {
    return await inspectModel(folder)
  } catch (error) {
    throw error instanceof EngineError ? new InputError(error.message) : error
  }
}

/** What a data file holds, by its lines; none of them is repeated in an error. @throws InputError */
function dataIn(file: string): Data {
  const id = basename(file)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
  if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(id))
    throw new InputError(`${file}: a dataset can not be called as this file is`)
  const lines = textIn(file)
    .split('\n')
    .filter((line) => line.trim() !== '')
  const labels = new Set<string>()
  let form: Form | null = null
  for (const [index, line] of lines.entries()) {
    const value = recordIn(line, `${file}:${index + 1}`)
    form ??= formOf(value)
    if (typeof value.label === 'string') labels.add(value.label)
  }
  if (form === null)
    throw new InputError(`${file} has no line of text and label, of prompt and completion, or of messages`)
  return { id, file, lines: lines.length, form, labels }
}

function recordIn(line: string, place: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // The error would quote the line.
  }
  throw new InputError(`${place}: the line is no JSON object`)
}

function formOf({ text, label, prompt, completion, messages }: Record<string, unknown>): Form | null {
  if (typeof text === 'string' && typeof label === 'string') return 'text'
  if (typeof prompt === 'string' && typeof completion === 'string') return 'completion'
  return Array.isArray(messages) ? 'messages' : null
}

function taskOf(data: readonly Data[], { tasks, positions, classes }: ModelInspection) {
  const maxTokens = Math.min(MAX_TOKENS, positions ?? MAX_TOKENS)
  const lengths = { maxTokens, buckets: maxTokens > 32 ? [maxTokens / 2, maxTokens].map(Math.floor) : [maxTokens] }
  const [{ form }] = data as [Data]
  if (form !== 'text') {
    if (!tasks.includes('causal-lm'))
      throw new InputError('the model has no head that says what comes next: prompts need one')
    return { kind: 'causal-lm' as const, format: form, ...lengths, maxCompletionTokens: Math.floor(maxTokens / 4) }
  }
  const labels = [...new Set(data.flatMap(({ labels }) => [...labels]))].sort()
  if (labels.length < 2) throw new InputError('the data have one label: there is nothing to tell apart')
  if (tasks.includes('sequence-classification')) {
    if (classes !== undefined && labels.length > classes)
      throw new InputError(`the data have ${labels.length} labels, and the head of the model ${classes} classes`)
    return {
      kind: 'sequence-classification' as const,
      labels: Object.fromEntries(labels.map((label, i) => [label, i])),
      ...lengths,
    }
  }
  if (!tasks.includes('prompt-classification')) throw new InputError('the model has no head that tells labels apart')
  const words = Object.fromEntries(labels.map((label) => [label, label]))
  return { kind: 'prompt-classification' as const, template: '{text} It was {mask}.', labels: words, ...lengths }
}

/** The last layer's way back, and the head's own product where there is one: few coordinates near the loss. */
function sitesOf({ sites, layers }: ModelInspection) {
  const wanted = new Set([`layer.${layers - 1}.ffn.down`, 'head.transform'])
  const chosen = sites.filter(({ name }) => wanted.has(name))
  const some = chosen.length > 0 ? chosen : sites.slice(-1)
  if (some.length === 0)
    throw new InputError('nothing in the model can be trained in a lora space: see "sotto model check"')
  return some.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 1 }))
}

/** Of the smallest dataset a batch of some records. */
function rateOf(data: readonly Data[]): number {
  const fewest = Math.min(...data.map(({ lines }) => lines))
  return Math.min(1, Number((BATCH / fewest).toPrecision(2)))
}
