import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { drawPlot, type Plot, spread } from './plot.ts'
import { element, escaped } from './svg.ts'

/** Names of the open elements at every tag, or throws: a strict reader of the XML that is written here. */
const readXml = (document: string): string[] => {
  const open: string[] = []
  const seen: string[] = []
  const tag = /<(\/?)([a-z]+)((?: [a-zA-Z0-9:-]+="[^"<]*")*)(\/?)>|[^<]+/y
  while (tag.lastIndex < document.length) {
    const at = tag.lastIndex
    const found = tag.exec(document)
    if (found === null) throw new Error(`no XML at ${at}`)
    const [whole, closing, name, attributes = '', empty] = found
    if (/&(?!(amp|lt|gt|quot|apos);)/.test(name ? attributes : whole)) throw new Error(`bare ampersand at ${at}`)
    if (name === undefined) continue
    if (closing && open.pop() !== name) throw new Error(`${name} closed at ${at}, but not open`)
    if (!closing) seen.push(name)
    if (!closing && !empty) open.push(name)
  }
  if (open.length > 0) throw new Error(`${open.join()} never closed`)
  return seen
}

const plot: Plot = {
  title: 'Spend <b> & more',
  subtitle: 'two lines',
  x: { title: 'rounds released', from: 0, to: 1000, whole: true },
  y: { title: 'epsilon', from: 0, to: 3.7, logarithmic: false },
  lines: [
    {
      kind: 'certified',
      name: 'certified bound',
      value: 'ε ≤ 3.5',
      points: [
        [10, 1],
        [1000, 3.5],
      ],
      low: [0.9, 3.4],
    },
    {
      kind: 'rdp',
      name: 'Renyi bound',
      value: 'ε ≤ 3.7',
      points: [
        [10, 1.2],
        [1000, 3.7],
      ],
    },
  ],
  marks: [{ at: 400, text: 'stage 2' }],
}
const heightOf = (svg: string, text: string) => {
  const found = new RegExp(`<text[^>]* y="([\\d.]+)"[^>]*>${text}</text>`).exec(svg)
  return Number(found?.[1])
}

describe('drawPlot', () => {
  const svg = drawPlot(plot)

  test('is well-formed and one document', () => {
    const names = readXml(svg.trimEnd())
    expect(names[0]).toBe('svg')
    expect(names.filter((name) => name === 'path')).toHaveLength(3)
  })

  test('says what is drawn: titles, axes, lines by name, marks, for eyes and for screen readers', () => {
    const texts = [
      'rounds released',
      'epsilon',
      'certified bound',
      'ε ≤ 3.5',
      'Renyi bound',
      'ε ≤ 3.7',
      'stage 2',
      '1,000',
    ]
    for (const text of texts) expect(svg).toContain(`>${text}</text>`)
    expect(svg).toContain('<title>Spend &lt;b&gt; &amp; more</title>')
    expect(svg).toContain('role="img"')
  })

  test('follows the reader to the dark, and carries no script and no outside reference', () => {
    expect(svg).toContain('prefers-color-scheme: dark')
    expect(svg).not.toMatch(/<script|href|url\(|@import/)
  })

  test('larger is higher, and names do not overlap', () => {
    expect(heightOf(svg, 'Renyi bound')).toBeLessThan(heightOf(svg, 'certified bound'))
    expect(heightOf(svg, 'certified bound') - heightOf(svg, 'Renyi bound')).toBeGreaterThanOrEqual(36)
  })

  test('a logarithmic axis is labelled by powers of ten', () => {
    const profile = { ...plot, y: { ...plot.y, from: 2e-9, to: 0.5, logarithmic: true }, marks: [] }
    const lines = plot.lines.map(({ low: _, ...each }) => ({
      ...each,
      points: [
        [0, 0.5],
        [10, 2e-9],
      ] as const,
    }))
    const drawn = drawPlot({ ...profile, lines })
    for (const text of ['1e−3', '1e−6', '0.1']) expect(drawn).toContain(`>${text}</text>`)
    expect(drawn).not.toContain('NaN')
  })

  test('property: no plot of finite values has a place that is no number', () => {
    const value = fc.double({ min: 0, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(value, value, (at, to) => {
        const lines = [{ ...plot.lines[1]!, points: [[at, to]] as const }]
        const [x, y] = [
          { ...plot.x, to: at, whole: false },
          { ...plot.y, to },
        ]
        const drawn = drawPlot({ ...plot, x, y, lines, marks: [] })
        expect(drawn).not.toMatch(/NaN|Infinity|undefined/)
        readXml(drawn.trimEnd())
      }),
    )
  })
})

test('property: labels stay in order, at or below their place, with the gap between', () => {
  const wishes = fc.array(fc.double({ min: 0, max: 400, noNaN: true }), { maxLength: 6 })
  fc.assert(
    fc.property(wishes, (wished) => {
      const placed = spread(wished, 36)
      const sorted = [...placed].sort((a, b) => a - b)
      expect(sorted.every((height, i) => i === 0 || height - sorted[i - 1]! >= 36 - 1e-9)).toBe(true)
      expect(placed.every((height, i) => height >= wished[i]!)).toBe(true)
    }),
  )
})

test('texts and attributes are escaped, numbers are cut to hundredths', () => {
  expect(escaped(`<a b="c">&'`)).toBe('&lt;a b=&quot;c&quot;&gt;&amp;&apos;')
  expect(element('line', { x1: 1.23456, class: '"' })).toBe('<line x1="1.23" class="&quot;"/>')
})
