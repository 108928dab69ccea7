import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { findTool, outcomeOf, ROOT, tracked, unless } from './tools.ts'

const FOLDER = 'infra/tofu'
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const files = () => tracked(FOLDER).filter((file) => file.endsWith('.tf'))

const tofu = findTool('tofu') ?? findTool('terraform')
const hcl = findTool('hcl2tojson')
const folder = mkdtempSync(join(tmpdir(), 'sotto-tofu-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('the files of OpenTofu', () => {
  it.skipIf(!hcl)(`are HCL${unless(hcl, 'python-hcl2')}`, () => {
    expect(files().length).toBeGreaterThan(8)
    for (const file of files()) expect(outcomeOf(hcl!, [file]).status, file).toBe(0)
    const broken = join(folder, 'broken.tf')
    writeFileSync(broken, 'resource "aws_s3_bucket" "log" {\n  bucket = \n}\n')
    expect(outcomeOf(hcl!, [broken]).status).not.toBe(0)
  })

  it.skipIf(!tofu)(`are formatted, and are read by the program itself${unless(tofu, 'tofu or terraform')}`, () => {
    expect(outcomeOf(tofu!, ['fmt', '-check', '-recursive', FOLDER]).status).toBe(0)
  })

  it('pin their providers, and keep no secret', () => {
    for (const cloud of ['aws', 'cloudflare'])
      expect(read(`${FOLDER}/${cloud}/versions.tf`)).toMatch(/version = "~> \d+\.\d+"/)
    const secrets = /aws_iam_access_key|secret_text|cloudflare_api_token|sensitive/
    expect(files().filter((file) => secrets.test(read(file)))).toEqual([])
  })

  it('never destroy the bucket', () => {
    const buckets = files()
      .flatMap((file) => read(file).split(/^(?=resource )/m))
      .filter((block) => /^resource "(aws_s3_bucket|cloudflare_r2_bucket)"/.test(block))
    expect(buckets).toHaveLength(2)
    for (const bucket of buckets) expect(bucket).toContain('prevent_destroy = true')
  })

  it('version the bucket of AWS, lock its objects, and show it to nobody', () => {
    const main = read(`${FOLDER}/aws/main.tf`)
    for (const line of [
      'object_lock_enabled = true',
      'status = "Enabled"',
      'mode = var.retention.mode',
      'days = var.retention.days',
    ])
      expect(main).toContain(line)
    for (const line of ['block_public_acls', 'block_public_policy', 'ignore_public_acls', 'restrict_public_buckets'])
      expect(main).toMatch(new RegExp(`${line}\\s+= true`))
  })

  it('name the Worker, the bucket and the settings of wrangler.toml', () => {
    const wrangler = read('wrangler.toml')
    const main = read(`${FOLDER}/cloudflare/main.tf`)
    expect(wrangler).toContain(`name = "${/service\s+= "(\w+)"/.exec(main)![1]}"`)
    const bucket = /variable "bucket" \{[^}]*default\s+= "(\w+)"/.exec(read(`${FOLDER}/cloudflare/variables.tf`))![1]
    expect(wrangler).toContain(`bucket_name = "${bucket}"`)
    const settings = [...main.matchAll(/--var \\"(\w+):/g)].map(([, name]) => name!)
    expect(settings).toHaveLength(3)
    const known = read('coordinator/hosts/environment.ts')
    expect(settings.filter((name) => !known.includes(name))).toEqual([])
  })
})

interface Statement {
  readonly Sid?: string
  readonly Effect: 'Allow' | 'Deny'
  readonly Action: string | readonly string[]
  readonly Resource?: string | readonly string[]
  readonly Condition?: object
}

/** The documents as OpenTofu works them out: they need no provider, and so no network. */
function policiesOf(variables: object): Record<string, { Statement: Statement[] }> {
  const module = mkdtempSync(join(folder, 'policies-'))
  cpSync(join(ROOT, FOLDER, 'aws/policies'), module, { recursive: true })
  writeFileSync(join(module, 'values.auto.tfvars.json'), JSON.stringify(variables))
  const run = (...args: string[]) => {
    const { status, said } = outcomeOf('env', ['CHECKPOINT_DISABLE=1', tofu!, `-chdir=${module}`, ...args])
    if (status !== 0) throw new Error(said)
    return said
  }
  run('init', '-input=false')
  run('validate')
  run('plan', '-input=false', '-out=plan')
  const shown = run('show', '-json', 'plan')
    .split('\n')
    .find((line) => line.startsWith('{"'))!
  const { outputs } = JSON.parse(shown).planned_values
  return Object.fromEntries(
    Object.entries(outputs).map(([name, output]) => [name, JSON.parse((output as { value: string }).value)]),
  )
}

const list = (value: string | readonly string[] = []) => (typeof value === 'string' ? [value] : value)
/** Whether a statement speaks of an action on an object, whoever does it: `*` stands for anything. */
const speaksOf = ({ Action, Resource }: Statement, action: string, resource: string) => {
  const fits = (pattern: string, text: string) =>
    new RegExp(
      `^${pattern
        .split('*')
        .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
        .join('.*')}$`,
    ).test(text)
  return list(Action).some((each) => fits(each, action)) && list(Resource).some((each) => fits(each, resource))
}

describe.skipIf(!tofu)(`the policies of the bucket${unless(tofu, 'tofu or terraform')}`, () => {
  const bucket_arn = 'arn:aws:s3:::sotto'
  const [segment, checkpoint, blob] = ['runs/run-a/log/00000000.jsonl', 'runs/run-a/checkpoint', 'blobs/abc'].map(
    (key) => `${bucket_arn}/one/${key}`,
  )
  const policies = tofu
    ? policiesOf({ bucket_arn, prefix: 'one', auditor_arns: ['arn:aws:iam::111122223333:root'] })
    : {}
  const may = (who: string, action: string, resource: string) =>
    policies[who]!.Statement.some((statement) => statement.Effect === 'Allow' && speaksOf(statement, action, resource))
  const denials = (action: string, resource: string) =>
    policies.bucket!.Statement.filter(
      (each) => each.Effect === 'Deny' && each.Sid !== 'EncryptedConnections' && speaksOf(each, action, resource),
    )

  it('let the coordinator create and read in its folder, find what is not there, and no more', () => {
    for (const object of [segment!, checkpoint!, blob!])
      for (const action of ['s3:GetObject', 's3:PutObject']) expect(may('coordinator', action, object)).toBe(true)
    expect(may('coordinator', 's3:ListBucket', bucket_arn)).toBe(true)
    for (const action of [
      's3:DeleteObject',
      's3:DeleteObjectVersion',
      's3:PutObjectRetention',
      's3:BypassGovernanceRetention',
    ])
      expect(may('coordinator', action, segment!)).toBe(false)
    for (const action of ['s3:PutBucketPolicy', 's3:PutBucketVersioning', 's3:PutLifecycleConfiguration'])
      expect(may('coordinator', action, bucket_arn)).toBe(false)
    expect(may('coordinator', 's3:PutObject', `${bucket_arn}/two/runs/run-a/checkpoint`)).toBe(false)
  })

  it('let an auditor read, every version, and write nothing', () => {
    for (const action of ['s3:GetObject', 's3:GetObjectVersion']) expect(may('auditor', action, segment!)).toBe(true)
    const actions = policies.auditor!.Statement.flatMap(({ Action }) => list(Action))
    expect(actions.filter((action) => !/^s3:(Get|List)/.test(action))).toEqual([])
    expect(policies.auditor_trust!.Statement[0]).toMatchObject({
      Action: 'sts:AssumeRole',
      Principal: { AWS: ['arn:aws:iam::111122223333:root'] },
    })
  })

  it('let nobody lay another version over a segment, and anybody who may write replace a checkpoint', () => {
    expect(denials('s3:PutObject', segment!)).toEqual([
      expect.objectContaining({ Condition: { Null: { 's3:if-none-match': 'true' } } }),
    ])
    expect(denials('s3:PutObject', `${bucket_arn}/one/datasets/north/log/00000000.jsonl`)).toHaveLength(1)
    expect(denials('s3:PutObject', checkpoint!)).toEqual([])
    expect(denials('s3:PutObject', blob!)).toEqual([])
  })

  it('let nobody delete, but for those who break the glass', () => {
    const [denial] = denials('s3:DeleteObjectVersion', segment!)
    expect(denial).not.toHaveProperty('Condition')
    const broken = policiesOf({ bucket_arn, break_glass_arns: ['arn:aws:iam::111122223333:role/glass'] })
    expect(broken.bucket!.Statement.find(({ Sid }) => Sid === 'NothingIsDeleted')!.Condition).toEqual({
      ArnNotEquals: { 'aws:PrincipalArn': ['arn:aws:iam::111122223333:role/glass'] },
    })
    expect(broken.coordinator!.Statement[0]!.Resource).toEqual([`${bucket_arn}/*`])
  })
})
