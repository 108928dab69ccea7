import type { ModelSite } from '../../gpu-worker/engine/index.ts'
import { type Check, RANKS } from './check.ts'

/** What a check found, for people. */

const rounded = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 })
/** @example short(22_713_216) // '22.7M' */
export const short = (value: number): string => rounded.format(value)

const BYTES = ['B', 'kB', 'MB', 'GB', 'TB'] as const
const THOUSAND = 1000
/** @example bytes(90_900_000) // '90.9 MB' */
export const bytes = (value: number): string => {
  const power = Math.max(0, Math.min(BYTES.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3)))
  return `${Number((value / THOUSAND ** power).toPrecision(3))} ${BYTES[power]}`
}

/** Sites of one kind and shape in successive layers. */
interface SiteRow {
  readonly name: string
  readonly inputs: number
  readonly outputs: number
  readonly count: number
}

const LAYER = /^layer\.(\d+)\.(.+)$/

const spanOf = (layers: readonly number[]): string => {
  const [first, last] = [layers[0]!, layers.at(-1)!]
  return layers.length === 1 ? `${first}` : last - first + 1 === layers.length ? `${first}-${last}` : layers.join(',')
}

/** One row for what is the same in every layer: `layer.0-5.ffn.up`. */
export const siteRows = (sites: readonly ModelSite[]): SiteRow[] => {
  const groups = new Map<string, { site: ModelSite; layers: number[]; inner: string | undefined }>()
  for (const site of sites) {
    const [, layer, inner] = LAYER.exec(site.name) ?? []
    const key = `${inner ?? site.name} ${site.inputs} ${site.outputs}`
    const group = groups.get(key)
    if (group && layer !== undefined) group.layers.push(Number(layer))
    else groups.set(key, { site, layers: layer === undefined ? [] : [Number(layer)], inner })
  }
  return [...groups.values()].map(({ site: { name, inputs, outputs }, layers, inner }) => ({
    name: inner === undefined ? name : `layer.${spanOf(layers)}.${inner}`,
    ...{ inputs, outputs, count: Math.max(1, layers.length) },
  }))
}

/** Columns as wide as their widest entry; the first to the left, the others to the right. */
export const columns = (rows: readonly (readonly string[])[]): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row.map((entry, at) => (at === 0 ? entry.padEnd(widths[at]!) : entry.padStart(widths[at]!))).join('  '),
    )
    .map((line) => `  ${line.trimEnd()}\n`)
    .join('')
}

const siteTable = ({ model, spaces }: Check): string => {
  const { sites } = model
  if (sites.length === 0) return 'space lora: no site was found\n'
  const rows = siteRows(sites).map(({ name, inputs, outputs, count }) => [
    name,
    String(inputs),
    String(outputs),
    ...RANKS.map((rank) => String(count * inputs * rank)),
  ])
  const head = ['site', 'inputs', 'outputs', ...RANKS.map((rank) => `rank ${rank}`)]
  const all = [`all ${sites.length} sites`, '', '', ...RANKS.map((rank) => String(spaces.lora.dimension[rank]))]
  return `space lora: trained coordinates by rank\n${columns([head, ...rows, all])}`
}

/** Layers whose activations a statistic can be of, and how wide these are. */
const activationLine = ({ activations, tasks }: Check['model']): string => {
  if (activations.length === 0 || !tasks.includes('causal-lm')) return ''
  const rows = new Map<number, number[]>()
  for (const { name, size } of activations) rows.set(size, [...(rows.get(size) ?? []), Number(name.split('.')[1])])
  const spans = [...rows].map(([size, layers]) => `layer.${spanOf(layers)}, ${size} wide`)
  return `space statistic: activations ${spans.join('; ')}\n`
}

const NAME_WIDTH = 11

/** Name and meaning of each fact; undefined facts are left out. */
export const facts = (rows: readonly (readonly [string, string | undefined])[]): string =>
  rows.map(([name, value]) => (value === undefined ? '' : `  ${name.padEnd(NAME_WIDTH)}  ${value}\n`)).join('')

const headWords = ({ vocabulary, classes }: Check['model']): string =>
  classes === undefined ? `${vocabulary ?? 'unknown'} tokens` : `${classes} classes`

const modelFacts = ({ model }: Check): string =>
  facts([
    ['file', `${model.file}, opset ${model.opset}${model.exporter === '' ? '' : `, by ${model.exporter}`}`],
    ['size', `${bytes(model.bytes.graph + model.bytes.data)}, ${short(model.parameters)} parameters`],
    ['precision', model.quantisation === undefined ? model.precision : `${model.precision}: ${model.quantisation}`],
    ['head', `${headWords(model)}: ${model.tasks.join(' or ') || 'no task is known'}`],
    ['layers', `${model.layers}${model.positions === undefined ? '' : `, at most ${model.positions} tokens`}`],
  ])

const memoryFacts = ({ memory }: Check): string =>
  facts([
    ['weights', `${bytes(memory.weightBytes)} for each thread`],
    ['activations', `${bytes(memory.activationBytes)} for each record of ${memory.tokens} tokens in a call`],
    ['calls', memory.oneByOne === null ? undefined : `one record each, for node ${memory.oneByOne}`],
  ])

const speedFacts = ({ speed, memory }: Check): string => {
  if (speed === null) return ''
  const { forwardTokens, roundSequences, lead, reason } = speed
  const share = roundSequences === null ? undefined : (roundSequences * memory.tokens) / forwardTokens
  return `speed, one thread, ${memory.tokens} tokens\n${facts([
    ['forward', `${short(forwardTokens)} tokens/s of the plain model`],
    [
      'round',
      share === undefined
        ? `does not run: ${reason ?? 'unknown'}`
        : `${short(roundSequences!)} direction-sequences/s, ${share.toFixed(2)} of the plain model (rank 4, all layers)`,
    ],
    ['lead', lead === 'single' ? `one by one: ${reason ?? 'unknown'}` : undefined],
  ])}`
}

/** Several short tables. */
export const reportText = (check: Check): string => {
  const { model, spaces } = check
  const quantised = model.quantisedSites.length
  const full =
    spaces.full.dimension === 0
      ? 'space full, pruned: no weight is there as numbers\n'
      : `space full, pruned: ${spaces.full.tensors} tensors, ${spaces.full.dimension} coordinates at most${
          quantised > 0 ? ' (the matrices are quantised and are none of them)' : ''
        }\n`
  return [
    `${model.architecture ?? 'model'}\n${modelFacts(check)}`,
    siteTable(check),
    full,
    activationLine(model),
    `memory\n${memoryFacts(check)}`,
    speedFacts(check),
  ]
    .filter((part) => part !== '')
    .join('\n')
}
