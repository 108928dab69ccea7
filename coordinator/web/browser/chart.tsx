import { useEffect, useMemo, useRef } from 'preact/hooks'
import uPlot from 'uplot'

/** One line of a chart. */
export interface Line {
  readonly label: string
  /** As many as the chart has x values; null leaves a gap. */
  readonly values: readonly (number | null)[]
  /** Number of its colour in the style, 1 to 6. */
  readonly colour: number
  readonly look?: 'line' | 'dashed' | 'points' | 'faint' | 'steps' | 'edge'
  /** The space to another line, by its place, is filled. */
  readonly fillsTo?: number
  /** How its values are written, where that is not as the chart's: a bound is never rounded to what it does not bound. */
  readonly format?: (value: number) => string
}

interface ChartProps {
  /** What it shows, in words: those who can not see it are told this. */
  readonly title: string
  /** What the x values are. */
  readonly along: string
  readonly x: readonly number[]
  readonly lines: readonly Line[]
  readonly format?: (value: number) => string
  readonly logarithmic?: boolean
  readonly height?: number
  /** Charts of one group have one cursor. */
  readonly group?: string
}

/** A chart that is drawn on a canvas, and the same as a table. Dragging shows a span, a double click all of it. */
export function Chart(props: ChartProps) {
  const { title, along, x, lines, format = plain } = props
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const data = useMemo(() => [x, ...lines.map(({ values }) => values)] as unknown as uPlot.AlignedData, [x, lines])
  const newest = useRef(data)
  newest.current = data
  const shape = JSON.stringify([
    along,
    props.logarithmic,
    props.height,
    props.group,
    lines.map(({ values: _, format: __, ...look }) => look),
  ])

  // The shape stands for all that the options are made of.
  useEffect(() => {
    const parent = place.current!
    const draw = () => {
      plot.current?.destroy()
      plot.current = new uPlot(optionsOf(props, parent), newest.current, parent)
    }
    draw()
    const sized = new ResizeObserver(() => plot.current?.setSize(sizeOf(parent, props.height)))
    sized.observe(parent)
    const scheme = matchMedia('(prefers-color-scheme: dark)')
    scheme.addEventListener('change', draw)
    return () => {
      scheme.removeEventListener('change', draw)
      sized.disconnect()
      plot.current?.destroy()
      plot.current = null
    }
  }, [shape])
  useEffect(() => plot.current?.setData(data), [data])

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} class="plot" role="img" aria-label={`${title}. ${spoken(props)}`} />
      <ChartTable along={along} x={x} lines={lines} format={format} />
    </figure>
  )
}

const plain = (value: number): string => String(Number(value.toPrecision(4)))

/** The ends of each line in words. */
function spoken({ x, lines, along, format = plain }: ChartProps): string {
  if (x.length === 0) return 'Nothing yet.'
  return lines
    .flatMap(({ label, values, format: own = format }) => {
      const last = values.findLastIndex((value) => value !== null)
      return last < 0 ? [] : [`${label}: ${own(values[last]!)} at ${along} ${x[last]}.`]
    })
    .join(' ')
}

const TABLE_ROWS = 24

function ChartTable({ along, x, lines, format }: Required<Pick<ChartProps, 'along' | 'x' | 'lines' | 'format'>>) {
  if (x.length === 0) return null
  const step = Math.max(1, Math.ceil(x.length / TABLE_ROWS))
  const rows = x.map((_, i) => i).filter((i) => (x.length - 1 - i) % step === 0)
  return (
    <details>
      <summary>As a table</summary>
      <section class="scroll" tabindex={0} aria-label="Table of the chart">
        <table>
          <thead>
            <tr>
              <th scope="col">{along}</th>
              {lines.map(({ label }) => (
                <th key={label} scope="col">
                  {label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((i) => (
              <tr key={i}>
                <th scope="row">{x[i]}</th>
                {lines.map(({ label, values, format: own = format }) => (
                  <td key={label}>{values[i] == null ? '–' : own(values[i])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  )
}

const HEIGHT = 220

const sizeOf = (parent: HTMLElement, height = HEIGHT) => ({ width: Math.max(200, parent.clientWidth), height })

function optionsOf(props: ChartProps, parent: HTMLElement): uPlot.Options {
  const { along, lines, format = plain, logarithmic = false, height, group } = props
  const colour = coloursOf(parent)
  const axis = {
    stroke: colour('soft'),
    grid: { stroke: colour('grid'), width: 1 },
    ticks: { stroke: colour('grid'), width: 1, size: 4 },
    font: `12px ${getComputedStyle(parent).fontFamily}`,
  }
  return {
    ...sizeOf(parent, height),
    scales: { x: { time: false }, y: logarithmic ? { distr: 3 } : {} },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : '')) },
      { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : format(tick))) },
    ],
    series: [{ label: along }, ...lines.map((line) => seriesOf(line, colour, format))],
    bands: lines.flatMap(({ fillsTo, colour: own }, i) =>
      fillsTo === undefined ? [] : [{ series: [i + 1, fillsTo + 1], fill: colour(`line${own}`, 0.18) }],
    ),
    cursor: { drag: { x: true, y: false }, points: { size: 6 }, ...(group ? { sync: { key: group } } : {}) },
    legend: { live: true },
  }
}

type Colours = (name: string, opacity?: number) => string

/** Colours of the style as a canvas takes them: it knows nothing of variables, nor of light and dark. */
function coloursOf(parent: HTMLElement): Colours {
  return (name, opacity = 1) => {
    const probe = parent.appendChild(document.createElement('span'))
    probe.style.color = `color-mix(in srgb, var(--${name}) ${100 * opacity}%, transparent)`
    const { color } = getComputedStyle(probe)
    probe.remove()
    return color
  }
}

function seriesOf(
  { label, colour: own, look = 'line', format: ownFormat }: Line,
  colour: Colours,
  chartFormat: (value: number) => string,
): uPlot.Series {
  const format = ownFormat ?? chartFormat
  const stroke = colour(`line${own}`)
  const common = { label, value: (_: uPlot, value: number | null) => (value === null ? '–' : format(value)) }
  if (look === 'points')
    return { ...common, stroke, width: 0, paths: () => null, points: { show: true, size: 4, fill: stroke } }
  if (look === 'faint') return { ...common, stroke: colour(`line${own}`, 0.4), width: 1, points: { show: false } }
  if (look === 'edge') return { ...common, class: 'edge', stroke: 'transparent', width: 0, points: { show: false } }
  const paths = look === 'steps' ? { paths: uPlot.paths.stepped!({ align: -1 }) } : {}
  return {
    ...common,
    ...paths,
    stroke,
    width: 2,
    points: { show: false },
    ...(look === 'dashed' ? { dash: [6, 5] } : {}),
  }
}
