import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse, YAMLParseError } from 'yaml'
import { z } from 'zod'
import { type CompleteRequest, type RunRequest, runRequestSchema } from '../../shared/api/index.ts'
import { InputError } from '../failure.ts'
import { textIn } from '../reading.ts'

/** What `model` of a run file may be: an id, or a folder beside the file, which is uploaded. */
const MODEL_ID = /^[0-9a-f]{64}$/

/** A run as a file says it: the body of `POST /v1/runs`, in YAML or JSON, whose model may be a folder. */
export interface RunFile {
  readonly request: Omit<RunRequest, 'model'>
  readonly model: { readonly id: string } | { readonly folder: string }
}

/**
 * Reads a run file, and checks it by the schema that the coordinator has.
 * @throws InputError naming the line, or the fields
 */
export function readRunFile(path: string): RunFile {
  const value = parsed(path)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InputError(`${path} is no run: it has no fields`)
  const { model, $schema: _, ...rest } = value as Record<string, unknown>
  if (typeof model !== 'string')
    throw new InputError(`${path}: model is the id of a model, or a folder beside this file`)
  // The id stands in for a folder, so that everything else is checked before anything is uploaded.
  const checked = runRequestSchema.safeParse({ ...rest, model: MODEL_ID.test(model) ? model : '0'.repeat(64) })
  if (!checked.success) throw new InputError(`${path} is no run:\n${wordsOf(checked.error)}`)
  const request = rest as Omit<RunRequest, 'model'>
  if (MODEL_ID.test(model)) return { request, model: { id: model } }
  const folder = resolve(dirname(path), model)
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError(`${path}: model ${model} is no folder`)
  return { request, model: { folder } }
}

/** Fields that do not fit, a line each. */
function wordsOf({ issues }: z.ZodError<CompleteRequest>): string {
  return issues.map(({ path, message }) => `  ${path.join('.') || 'the whole'}: ${message}`).join('\n')
}

function parsed(path: string): unknown {
  const text = textIn(path)
  try {
    // Version 1.2, without tags or merge keys: what a file says is what it shows.
    return parse(text, { version: '1.2', schema: 'core', merge: false, uniqueKeys: true, maxAliasCount: 0 })
  } catch (error) {
    if (error instanceof YAMLParseError) throw new InputError(`${path}: ${error.message.split('\n')[0]}`)
    throw new InputError(`${path} is no YAML`)
  }
}

/** JSON schema of a run file, for editors. */
export function runFileSchema(): object {
  const { $defs = {}, $schema } = z.toJSONSchema(runRequestSchema, { io: 'input' })
  const { RunRequest, ...defs } = $defs
  const model = { type: 'string', description: 'Id of a model, or a folder beside this file, which is uploaded.' }
  const properties = { ...RunRequest?.properties, $schema: { type: 'string' }, model }
  return { ...RunRequest, $schema, title: 'A run of Sotto', properties, $defs: defs }
}
