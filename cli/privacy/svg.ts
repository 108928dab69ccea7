/** SVG as text: every attribute and text is escaped here and nowhere else. */

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}

/** Text as it may stand between tags or in an attribute. */
export const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => ESCAPES[character]!)

type Attributes = Readonly<Record<string, string | number>>

/** Hundredths of a pixel: finer digits only lengthen the file. */
const attribute = (value: string | number) =>
  escaped(typeof value === 'number' ? String(Math.round(value * 100) / 100) : value)

/**
 * One element.
 * @param children elements made by this function, or text made by `escaped`
 * @example element('g', { class: 'ticks' }, element('text', { x: 4 }, escaped('a < b')))
 */
export const element = (name: string, attributes: Attributes, ...children: readonly string[]): string => {
  const list = Object.entries(attributes).map(([key, value]) => ` ${key}="${attribute(value)}"`)
  const opening = `<${name}${list.join('')}`
  return children.length === 0 ? `${opening}/>` : `${opening}>${children.join('')}</${name}>`
}

/** An element with text alone. */
export const label = (text: string, attributes: Attributes): string => element('text', attributes, escaped(text))
