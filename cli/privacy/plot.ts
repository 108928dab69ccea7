/** A line plot as one SVG document that follows the reader's light or dark scheme and needs no script. */
import { scaleLinear, scaleLog } from 'd3-scale'
import { area, line } from 'd3-shape'
import { element, escaped, label } from './svg.ts'

/** A point of a line: horizontal value, vertical value, both in data units. */
export type Point = readonly [number, number]

/** A line, named at its right end; `low` is the lower edge of a band below it, at the same horizontal values. */
export interface Line {
  readonly kind: 'certified' | 'rdp'
  readonly name: string
  /** What is said below the name; the value at the end. */
  readonly value: string
  readonly points: readonly Point[]
  readonly low?: readonly number[]
}

export interface Plot {
  readonly title: string
  readonly subtitle: string
  readonly x: { readonly title: string; readonly from: number; readonly to: number; readonly whole: boolean }
  readonly y: { readonly title: string; readonly from: number; readonly to: number; readonly logarithmic: boolean }
  readonly lines: readonly Line[]
  /** Vertical marks at horizontal values, each with a text at its top. */
  readonly marks: readonly { readonly at: number; readonly text: string }[]
}

const WIDTH = 760
const HEIGHT = 440
const FRAME = { left: 74, right: WIDTH - 150, top: 84, bottom: HEIGHT - 58 }
/** Height of a line's name with its value: labels closer than this are pushed apart. */
const LABEL_HEIGHT = 36

const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #3d434d }
  .paper { fill: #ffffff } .title { font-size: 17px; font-weight: 600; fill: #14171c } .strong { font-weight: 600 }
  .tick { font-variant-numeric: tabular-nums } .grid { stroke: #e6e8ec } .axis { stroke: #8b929e }
  .mark { stroke: #8b929e; stroke-dasharray: 3 4 } .curve { fill: none; stroke-width: 2.25; stroke-linejoin: round;
    stroke-linecap: round }
  .band { opacity: 0.2 } .curve.certified { stroke: #0a62c2 } .curve.rdp { stroke: #b04a12; stroke-dasharray: 7 4 }
  .band.certified, text.certified { fill: #0a62c2 } .band.rdp, text.rdp { fill: #b04a12 }
  @media (prefers-color-scheme: dark) {
    text { fill: #b9c0cb } .paper { fill: #14171c } .title { fill: #f2f4f7 } .grid { stroke: #2a2f38 }
    .axis, .mark { stroke: #767e8b } .curve.certified { stroke: #6cb0ff } .curve.rdp { stroke: #f0a36b }
    .band.certified, text.certified { fill: #6cb0ff } .band.rdp, text.rdp { fill: #f0a36b }
  }
`

interface Scale {
  readonly at: (value: number) => number
  readonly ticks: readonly { readonly at: number; readonly text: string }[]
}

const linear = (domain: readonly [number, number], range: readonly [number, number], whole: boolean): Scale => {
  const scale = scaleLinear(domain, range)
  const format = whole ? (value: number) => value.toLocaleString('en') : scale.tickFormat(6)
  const ticks = scale.ticks(6).filter((value) => !whole || Number.isInteger(value))
  return { at: scale, ticks: ticks.map((value) => ({ at: scale(value), text: format(value) })) }
}

/** Powers of ten alone are labelled, unless there are too few of them to read a value by. */
const logarithmic = (domain: readonly [number, number], range: readonly [number, number]): Scale => {
  const scale = scaleLog(domain, range).nice()
  const all = scale.ticks(7)
  const powers = all.filter((value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9)
  const ticks = powers.length < 3 ? all : powers
  return { at: scale, ticks: ticks.map((value) => ({ at: scale(value), text: powerText(value) })) }
}

const powerText = (value: number) => (value >= 0.01 ? String(value) : value.toExponential().replace('e-', 'e−'))

/** Where everything lies at one value, as when nothing is spent, an axis of one unit shows that as well as any. */
const wide = (from: number, to: number): readonly [number, number] => [from, to - from > 1e-12 ? to : from + 1]

const horizontal = ({ x }: Plot) => linear(wide(x.from, x.to), [FRAME.left, FRAME.right], x.whole)

const vertical = ({ y }: Plot) => {
  const range = [FRAME.bottom, FRAME.top] as const
  if (y.logarithmic) return logarithmic([y.from, y.to], range)
  const [from, to] = scaleLinear(wide(y.from, y.to), range).nice(6).domain()
  return linear([from!, to!], range, false)
}

const axes = (plot: Plot, x: Scale, y: Scale): string[] => {
  const { left, right, top, bottom } = FRAME
  const middle = (top + bottom) / 2
  return [
    ...y.ticks.map(({ at }) => element('line', { class: 'grid', x1: left, x2: right, y1: at, y2: at })),
    ...y.ticks.map(({ at, text }) => label(text, { class: 'tick', x: left - 9, y: at + 4.5, 'text-anchor': 'end' })),
    element('line', { class: 'axis', x1: left, x2: right, y1: bottom, y2: bottom }),
    ...x.ticks.map(({ at }) => element('line', { class: 'axis', x1: at, x2: at, y1: bottom, y2: bottom + 5 })),
    ...x.ticks.map(({ at, text }) => label(text, { class: 'tick', x: at, y: bottom + 20, 'text-anchor': 'middle' })),
    label(plot.x.title, { x: (left + right) / 2, y: HEIGHT - 14, 'text-anchor': 'middle' }),
    label(plot.y.title, { 'text-anchor': 'middle', transform: `translate(18 ${middle}) rotate(-90)` }),
  ]
}

const marks = (plot: Plot, x: Scale): string[] =>
  plot.marks.flatMap(({ at, text }) => [
    element('line', { class: 'mark', x1: x.at(at), x2: x.at(at), y1: FRAME.top, y2: FRAME.bottom }),
    label(text, { x: x.at(at) + 5, y: FRAME.top + 12 }),
  ])

const curve = ({ kind, points, low }: Line, x: Scale, y: Scale): string[] => {
  const path = line<Point>(
    ([at]) => x.at(at),
    ([, value]) => y.at(value),
  )
  const drawn = element('path', { class: `curve ${kind}`, d: path(points) ?? '' })
  if (low === undefined) return [drawn]
  const band = area<Point>()
    .x(([at]) => x.at(at))
    .y1(([, value]) => y.at(value))
    .y0((_, i) => y.at(low[i]!))
  return [element('path', { class: `band ${kind}`, d: band(points) ?? '' }), drawn]
}

/** Heights for labels wished at these heights, none of them over another, in the same order as given. */
export const spread = (wished: readonly number[], gap: number): number[] => {
  const order = wished.map((_, i) => i).sort((a, b) => wished[a]! - wished[b]!)
  const placed = [...wished]
  order.forEach((i, rank) => {
    if (rank > 0) placed[i] = Math.max(wished[i]!, placed[order[rank - 1]!]! + gap)
  })
  return placed
}

const names = (plot: Plot, x: Scale, y: Scale): string[] => {
  const ends = plot.lines.map(({ points }) => points.at(-1)!)
  const heights = spread(
    ends.map(([, value]) => y.at(value)),
    LABEL_HEIGHT,
  )
  const overflow = Math.max(0, Math.max(...heights) + 14 - FRAME.bottom)
  return plot.lines.flatMap(({ kind, name, value }, i) => {
    const at = { x: x.at(ends[i]![0]) + 10, y: heights[i]! - overflow }
    return [label(name, { class: `${kind} strong`, ...at }), label(value, { class: kind, ...at, y: at.y + 16 })]
  })
}

/**
 * Draws a plot.
 * @param plot every value finite; vertical values above 0 where that axis is logarithmic; each line with a point
 * @returns an SVG document
 */
export const drawPlot = (plot: Plot): string => {
  const [x, y] = [horizontal(plot), vertical(plot)]
  const size = { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` }
  const parts = [
    element('title', {}, escaped(plot.title)),
    element(
      'desc',
      {},
      escaped(`${plot.subtitle}. ${plot.lines.map((each) => `${each.name}: ${each.value}`).join('. ')}`),
    ),
    element('style', {}, escaped(STYLE)),
    element('rect', { class: 'paper', width: WIDTH, height: HEIGHT }),
    label(plot.title, { class: 'title', x: FRAME.left, y: 34 }),
    label(plot.subtitle, { x: FRAME.left, y: 56 }),
    ...axes(plot, x, y),
    ...marks(plot, x),
    ...plot.lines.flatMap((each) => curve(each, x, y)),
    ...names(plot, x, y),
  ]
  return `${element('svg', { xmlns: 'http://www.w3.org/2000/svg', role: 'img', ...size }, '\n', parts.join('\n'), '\n')}\n`
}
