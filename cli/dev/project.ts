import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { InputError } from '../failure.ts'

const projectSchema = z.strictObject({
  datasets: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/),
        data: z.string().min(1),
        unit: z.enum(['record', 'user']).default('record'),
        epsilon: z.number().positive().max(1000),
        delta: z.number().gt(0).max(0.01).default(1e-5),
      }),
    )
    .min(1)
    .max(32),
  make: z.string().optional(),
})

/** What `sotto dev` starts: paths are absolute. */
export type Project = z.infer<typeof projectSchema>

/** Reads a project file. @throws InputError naming the fields that do not fit */
export function readProject(file: string): Project {
  let value: unknown
  try {
    value = parse(readFileSync(file, 'utf8'), { version: '1.2', schema: 'core', maxAliasCount: 0 })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    throw new InputError(
      code ? `${file} cannot be read: ${code}` : `${file}: ${(error as Error).message.split('\n')[0]}`,
    )
  }
  const parsed = projectSchema.safeParse(value)
  if (!parsed.success) {
    const fields = parsed.error.issues.map(({ path, message }) => `  ${path.join('.') || 'the whole'}: ${message}`)
    throw new InputError(`${file} is no project:\n${fields.join('\n')}`)
  }
  const beside = (path: string) => resolve(dirname(file), path)
  const { datasets, make } = parsed.data
  const ids = new Set(datasets.map(({ id }) => id))
  if (ids.size < datasets.length) throw new InputError(`${file}: two datasets have one id`)
  return {
    datasets: datasets.map((dataset) => ({ ...dataset, data: beside(dataset.data) })),
    ...(make === undefined ? {} : { make: beside(make) }),
  }
}

/** How many units a data file has: lines, or users. @throws InputError */
export function unitsIn({ data, unit }: Project['datasets'][number]): number {
  if (!existsSync(data)) throw new InputError(`${data} is not there`)
  const lines = readFileSync(data, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
  if (unit === 'record') return lines.length
  return new Set(lines.map((line, index) => userOf(line, `${data}:${index + 1}`))).size
}

function userOf(line: string, place: string): string {
  let value: unknown
  try {
    value = (JSON.parse(line) as { user?: unknown } | null)?.user
  } catch {
    // The error would quote the line.
  }
  if (typeof value !== 'string' || value === '') throw new InputError(`${place}: the line has no user`)
  return value
}
