import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { findPython, findTool, outcomeOf, ROOT, tracked, unless } from './tools.ts'

const CHART = 'infra/helm/sotto'
const EXAMPLES = ['all-in-one', 'site'] as const
/** The oldest API that the chart says it needs, and a newer one. */
const VERSIONS = ['1.31', '1.37']

interface Container {
  readonly name: string
  readonly image: string
  readonly args: readonly string[]
  readonly ports?: unknown
  readonly env: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[]
  readonly securityContext: object
  readonly resources: { readonly limits: Record<string, unknown> }
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[]
}
interface PodSpec {
  readonly automountServiceAccountToken?: boolean
  readonly hostNetwork?: boolean
  readonly securityContext: object
  readonly containers: readonly Container[]
  readonly volumes: readonly Record<string, unknown>[]
}
interface Pod {
  readonly metadata: { readonly labels: Record<string, string> }
  readonly spec: PodSpec
}
interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly annotations?: Record<string, string> }
  // biome-ignore lint/suspicious/noExplicitAny: fields of a dozen kinds, which the schemas of Kubernetes check.
  readonly spec: any
}

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const valuesOf = (example: string) => parse(read(`infra/helm/examples/${example}.yaml`))
const objectsOf = (text: string): Manifest[] =>
  parseAllDocuments(text).flatMap((document) => (document.toJS() as Manifest | null) ?? [])
/** In one order and one style, whoever rendered them. */
const inOrder = (objects: readonly Manifest[]): string => {
  const nameOf = ({ kind, metadata }: Manifest) => `${kind} ${metadata.name}`
  const sorted = objects.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
  return sorted.map((object) => stringify(object, { sortMapEntries: true, lineWidth: 0 })).join('---\n')
}
const committed = (example: string) => objectsOf(read(`infra/helm/rendered/${example}.yaml`))
const all = () => EXAMPLES.flatMap(committed)

const helm = findTool('helm')
const python = findPython('helm_python')
const engine = helm ?? python

/** What Helm makes of values. @throws what it refuses them with */
function render(values: object, release = 'sotto'): Manifest[] {
  const input = stringify(values)
  const template = ['template', release, CHART, '--namespace', 'sotto', '--values', '-']
  const { status, said } = helm
    ? outcomeOf(helm, template, input)
    : outcomeOf(python!, ['test/infra/render.py', CHART, release], input)
  if (status !== 0) throw new Error(said)
  return helm ? objectsOf(said) : (JSON.parse(said) as string[]).flatMap(objectsOf)
}

const podOf = ({ kind, spec }: Manifest): Pod | null =>
  kind === 'ScaledJob' ? spec.jobTargetRef.template : (spec.template ?? null)
const pods = (objects: readonly Manifest[]): Pod[] => objects.flatMap((object) => podOf(object) ?? [])
const isWorker = ({ metadata }: Pod) => metadata.labels['app.kubernetes.io/component'] === 'worker'
const workers = () => pods(all()).filter(isWorker)
const ofKind = (...kinds: string[]) => all().filter(({ kind }) => kinds.includes(kind))

describe('the values of the chart', () => {
  const schema = JSON.parse(read(`${CHART}/values.schema.json`))
  // The meta-schema of the draft knows no `format`, which Helm does not check either.
  const validate = new Ajv({ strict: true, strictRequired: false, strictTypes: false, formats: { uri: true } }).compile(
    schema,
  )
  const defaults = () => parse(read(`${CHART}/values.yaml`))
  const worker = {
    name: 'a',
    dataset: 'a',
    tokenSecret: { name: 'a', key: 'a' },
    data: { claimName: 'a', file: 'a.jsonl' },
  }

  it('fit their schema, those of the examples too', () => {
    for (const values of [defaults(), ...EXAMPLES.map(valuesOf)])
      expect(validate(values), JSON.stringify(validate.errors)).toBe(true)
  })

  it.each<[string, object]>([
    ['a name that nobody knows', { coordinater: {} }],
    ['a name of a worker that nobody knows', { workers: [{ ...worker, replicas: 2 }] }],
    ['a tag that moves', { coordinator: { image: { tag: 'latest' } } }],
    ['no tag', { worker: { image: { tag: '' } } }],
    ['a token in clear', { workers: [{ ...worker, token: 'sotto_0123456789' }] }],
    ['a worker without its token', { workers: [{ ...worker, tokenSecret: undefined }] }],
    ['data outside their volume', { workers: [{ ...worker, data: { claimName: 'a', file: '../b.jsonl' } }] }],
    ['two GPUs of one worker', { worker: { gpus: 2 } }],
    ['an ingress without TLS', { coordinator: { ingress: { enabled: true, host: 'sotto.example.org' } } }],
    ['a state that two pods may open', { worker: { state: { accessMode: 'ReadWriteMany' } } }],
    ['a delta of one', { worker: { policy: { maxDelta: 1 } } }],
    ['a worker that is called as the coordinator', { workers: [{ ...worker, name: 'coordinator' }] }],
  ])('are refused with %s', (_, change) => {
    expect(validate(JSON.parse(JSON.stringify(change)))).toBe(false)
  })

  it('are spoken of in one place: what a worker may say is what all workers may', () => {
    const own = schema.properties.workers.items.properties
    const shared = schema.properties.worker.properties
    expect(Object.keys(defaults().worker).toSorted()).toEqual(Object.keys(shared).toSorted())
    expect(Object.keys(own)).toEqual(expect.arrayContaining(Object.keys(shared)))
  })
})

describe(`the chart, rendered${unless(engine, 'helm')}`, () => {
  it.skipIf(!engine).each(EXAMPLES)('is what lies in infra/helm/rendered for the example %s', async (example) => {
    await expect(inOrder(render(valuesOf(example)))).toMatchFileSnapshot(
      join(ROOT, `infra/helm/rendered/${example}.yaml`),
    )
  })

  it.skipIf(!engine)('has a coordinator and no worker where nothing is said', () => {
    const kinds = render({}).map(({ kind }) => kind)
    expect(kinds.toSorted()).toEqual(['NetworkPolicy', 'Service', 'StatefulSet'])
  })

  const [north, east] = valuesOf('all-in-one').workers
  it.skipIf(!engine).each<[string, object, RegExp]>([
    ['two workers of one name', { workers: [north, { ...east, name: 'north' }] }, /two workers are called north/],
    ['two workers of one token', { workers: [north, { ...east, tokenSecret: north.tokenSecret }] }, /token of another/],
    ['cuda without a GPU', { workers: [{ ...north, device: 'cuda' }] }, /no gpus/],
    ['no coordinator at all', { coordinator: { enabled: false }, workers: [north] }, /coordinatorUrl is missing/],
    ['a coordinator that no rule reaches', { coordinatorUrl: 'https://a.example', workers: [north] }, /egress/],
    [
      'models at an address that no rule reaches',
      { coordinator: { publicUrl: 'https://a.example' }, workers: [north] },
      /egress/,
    ],
    ['values against the schema', { worker: { gpus: 'one' } }, /gpus/],
  ])('refuses %s', (_, values, reason) => {
    expect(() => render(values)).toThrow(reason)
  })

  it.skipIf(!engine)('refuses a release whose name it would have to cut short', () => {
    expect(() => render({}, 'a'.repeat(41))).toThrow(/too long/)
  })

  it.skipIf(!engine)('lets a worker take back what all workers have', () => {
    const shared = { gpus: 1, beatSeconds: 5, autoscaling: { enabled: true } }
    const own = { gpus: 0, beatSeconds: 0, autoscaling: { enabled: false } }
    const objects = render({
      worker: shared,
      workers: [
        { ...north, ...own },
        { ...east, autoscaling: undefined },
      ],
    })
    const [first] = pods(objects.filter(({ metadata }) => metadata.name === 'sotto-north'))
    expect(first!.spec.containers[0]!.args).toContain('--beat=0')
    expect(Object.keys(first!.spec.containers[0]!.resources.limits)).toEqual(['memory'])
    expect(objects.filter(({ kind }) => kind.startsWith('Scaled')).map(({ metadata }) => metadata.name)).toEqual([
      'sotto-east',
    ])
  })
})

/** A class of `kubernetes-models`, whose objects check themselves. */
type Model = new (object: Manifest) => { validate(): void }
async function modelOf({ apiVersion, kind }: Manifest): Promise<Model> {
  const place = apiVersion.startsWith('keda.sh/') ? '@kubernetes-models/keda' : 'kubernetes-models'
  return (await import(/* @vite-ignore */ `${place}/${apiVersion}/${kind}`))[kind]
}

describe('what the chart renders', () => {
  it('fits the schemas of Kubernetes and of KEDA', async () => {
    for (const object of all()) {
      const Class = await modelOf(object)
      expect(() => new Class(object).validate(), `${object.kind} ${object.metadata.name}`).not.toThrow()
    }
  })

  it('would not pass them with a wrong field', async () => {
    for (const kind of ['StatefulSet', 'Job', 'NetworkPolicy', 'ScaledObject', 'ScaledJob']) {
      const object = ofKind(kind)[0]!
      const Class = await modelOf(object)
      const wrong = { replicas: 'one', backoffLimit: 'six', podSelector: 'all', maxReplicaCount: 'one' }
      expect(() => new Class({ ...object, spec: { ...object.spec, ...wrong } }).validate(), kind).toThrow()
    }
  })

  const strict = findPython('kubernetes_validate')
  const check = (objects: readonly object[]) =>
    outcomeOf(strict!, ['test/infra/kubernetes.py', ...VERSIONS], JSON.stringify(objects))
  it.skipIf(!strict)(
    `has no field that Kubernetes ${VERSIONS.join(' or ')} does not know${unless(strict, 'kubernetes-validate')}`,
    () => {
      const own = all().filter(({ apiVersion }) => !apiVersion.startsWith('keda.sh/'))
      expect(check(own)).toEqual({ status: 0, said: '' })
      // What a ScaledJob starts is a Job.
      const jobs = ofKind('ScaledJob').map(({ metadata, spec }) => ({
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata,
        spec: spec.jobTargetRef,
      }))
      expect(check(jobs)).toEqual({ status: 0, said: '' })
      const [job] = jobs
      expect(check([{ ...job, spec: { ...job!.spec, backoffLimits: 6 } }]).said).toContain('backoffLimits')
    },
  )

  it('keeps every pod without rights, and every image at a version', () => {
    for (const { spec } of pods(all())) {
      expect(spec).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
      })
      expect(spec).not.toHaveProperty('hostNetwork')
      expect(spec.volumes.flatMap((volume) => Object.keys(volume)).filter((key) => key === 'hostPath')).toEqual([])
      for (const { securityContext, image, resources } of spec.containers) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        expect(image).toMatch(/:\d+\.\d+\.\d+$/)
        expect(resources.limits).toHaveProperty('memory')
      }
    }
  })

  it('says no secret: it names where each lies', () => {
    const secret = /TOKEN|KEY|SECRET|PASSWORD/
    for (const { env, args } of pods(all()).flatMap(({ spec }) => spec.containers)) {
      const named = env.filter(({ name }) => secret.test(name))
      expect(named.length).toBeGreaterThan(0)
      for (const { name, value, valueFrom } of named) {
        expect(value, name).toBeUndefined()
        expect(valueFrom, name).toHaveProperty('secretKeyRef')
      }
      expect(args.filter((arg) => /^--token/.test(arg))).toEqual([])
    }
    expect(ofKind('Secret')).toEqual([])
  })

  it('opens no port at a worker, by no way', () => {
    expect(workers()).toHaveLength(3)
    for (const { spec } of workers())
      for (const container of spec.containers) {
        expect(container).not.toHaveProperty('ports')
        for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe'])
          expect(container).not.toHaveProperty(probe)
      }
    for (const { spec } of ofKind('Service')) expect(spec.selector['app.kubernetes.io/component']).toBe('coordinator')
    for (const { metadata } of workers()) {
      const name = metadata.labels['sotto.dev/worker']
      const policies = ofKind('NetworkPolicy').filter(
        ({ spec }) => spec.podSelector.matchLabels['sotto.dev/worker'] === name,
      )
      expect(policies).toHaveLength(1)
      const { policyTypes, ingress, egress } = policies[0]!.spec
      expect({ policyTypes, ingress }).toEqual({ policyTypes: ['Ingress', 'Egress'], ingress: [] })
      // Every rule has addresses and ports of its own: one without them is everywhere.
      for (const rule of egress) expect([rule.to?.length > 0, rule.ports?.length > 0]).toEqual([true, true])
      expect(
        egress.flatMap((rule: { to: { ipBlock?: { cidr: string } }[] }) => rule.to.map(({ ipBlock }) => ipBlock?.cidr)),
      ).not.toContain('0.0.0.0/0')
    }
  })

  it('lets a worker read its data and never write them, and keeps its state when the release goes', () => {
    for (const { spec, metadata } of workers()) {
      const [worker] = spec.containers
      expect(worker!.volumeMounts).toContainEqual({ name: 'data', mountPath: '/data', readOnly: true })
      expect(spec.volumes).toContainEqual({
        name: 'data',
        persistentVolumeClaim: expect.objectContaining({ readOnly: true }),
      })
      const claimName = `sotto-${metadata.labels['sotto.dev/worker']}-state`
      expect(spec.volumes).toContainEqual({ name: 'state', persistentVolumeClaim: { claimName } })
      expect(worker!.args).toContain('--state=/state')
      const claim = ofKind('PersistentVolumeClaim').find((each) => each.metadata.name === claimName)
      expect(claim!.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' })
      expect(claim!.spec.accessModes).toEqual(['ReadWriteOncePod'])
    }
    expect(ofKind('StatefulSet')[0]!.spec).toMatchObject({
      replicas: 1,
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
    })
  })

  it('never has two pods over one state', () => {
    for (const { spec } of ofKind('Deployment'))
      expect([spec.strategy.type, spec.replicas ?? 1]).toEqual(['Recreate', 1])
    for (const { spec } of ofKind('ScaledObject', 'ScaledJob')) expect(spec.maxReplicaCount).toBe(1)
    const jobs = [...ofKind('Job').map(({ spec }) => spec), ...ofKind('ScaledJob').map(({ spec }) => spec.jobTargetRef)]
    expect(jobs).toHaveLength(2)
    for (const job of jobs) {
      expect(job).toMatchObject({ podReplacementPolicy: 'Failed' })
      expect([job.parallelism ?? 1, job.completions ?? 1]).toEqual([1, 1])
      // An eviction is no failure, and what wants a person is not tried again.
      expect(job.podFailurePolicy.rules.map(({ action }: { action: string }) => action)).toEqual(['Ignore', 'FailJob'])
    }
  })

  it('scales by series that the coordinator has, with a token that lies in a secret', () => {
    const series = new Map([
      ['ScaledObject', /^sotto_dataset_runs\{dataset="[a-z]+"\}$/],
      ['ScaledJob', /^sotto_leases_wanted\{dataset="[a-z]+"\}$/],
    ])
    const metrics = read('coordinator/api/metrics.ts')
    for (const { kind, spec, metadata } of ofKind('ScaledObject', 'ScaledJob')) {
      const [{ type, metadata: trigger, authenticationRef }] = spec.triggers
      expect({ type, format: trigger.format, authMode: trigger.authMode }).toEqual({
        type: 'metrics-api',
        format: 'prometheus',
        authMode: 'bearer',
      })
      expect(trigger.valueLocation).toMatch(series.get(kind)!)
      expect(metrics).toContain(`name: '${trigger.valueLocation.split('{')[0]}'`)
      const authentication = ofKind('TriggerAuthentication').find(
        (each) => each.metadata.name === authenticationRef.name,
      )
      expect(authentication!.spec.secretTargetRef).toEqual([
        { parameter: 'token', name: 'sotto-metrics', key: 'token' },
      ])
      if (kind === 'ScaledObject') expect(spec.scaleTargetRef.name).toBe(metadata.name)
    }
    expect(ofKind('ScaledObject', 'ScaledJob')).toHaveLength(2)
    // Spelt as KEDA knows them: its schema lets unknown fields pass.
    expect(Object.keys(ofKind('ScaledObject')[0]!.spec).toSorted()).toEqual([
      'cooldownPeriod',
      'maxReplicaCount',
      'minReplicaCount',
      'pollingInterval',
      'scaleTargetRef',
      'triggers',
    ])
  })

  it('asks for a GPU where a worker has one', () => {
    const [clinic] = pods(committed('site')).filter(isWorker)
    expect(clinic!.spec.containers[0]!.resources.limits).toMatchObject({ 'nvidia.com/gpu': 1 })
    expect(clinic!.spec.containers[0]!.args).toContain('--device=cuda')
  })

  it('gives a worker no option that it does not know', () => {
    const { said } = outcomeOf(process.execPath, ['gpu-worker/main.ts', '--help'])
    const options = workers().flatMap(({ spec }) =>
      spec.containers.flatMap(({ args }) => args.map((arg) => arg.split('=')[0]!)),
    )
    expect(options.filter((option) => !said.includes(option))).toEqual([])
  })
})

it('has a file of the chart for each template, and no secret in it', () => {
  const files = tracked(CHART)
  expect(files).toEqual(expect.arrayContaining([`${CHART}/Chart.yaml`, `${CHART}/values.schema.json`]))
  expect(files.filter((file) => /kind: Secret$/m.test(read(file)))).toEqual([])
})
