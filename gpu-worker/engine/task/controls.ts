/** A token that only the model, a prompt's template or a chat template may bring in, never the text of data. */
export interface ControlToken {
  readonly id: number
  readonly content: string
}

/**
 * Text in which control tokens can not be forged. The tokenizer knows each control token by a stand-in made of Unicode
 * noncharacters instead of by its content; `clean` keeps those out of data, `mark` puts them into trusted text. Data
 * that must first go through a chat template is fenced: the template sees it nearly as it is, and `mark` finds no
 * control token in it.
 */
export interface Controls {
  /** What the tokenizer knows a control token by. */
  standIn(token: ControlToken): string
  /** Data without noncharacters of ours, to be encoded as it is. */
  clean(text: string): string
  /**
   * Data to be put between trusted text before `mark`: cleaned, each control token in it broken, also across its ends.
   */
  fence(text: string): string
  /** Trusted text with fenced data in it, made ready to encode: control tokens as stand-ins, fences gone. */
  mark(text: string): string
}

/** Noncharacters are "never interchanged": data that hold them anyway lose them to the replacement character. */
const [FENCE, SINGLE_FENCE, OPEN, CLOSE] = ['\uFDD0', '\uFDD1', '\uFDD2', '\uFDD3'] as const
const OURS = new RegExp(`[${FENCE}-${CLOSE}]`, 'g')
const FENCES = new RegExp(`[${FENCE}${SINGLE_FENCE}]`, 'g')
const NOTHING = /(?!)/g

/** UTF-16 units of the first character. */
const firstLength = (text: string): number => (text.codePointAt(0)! > 0xffff ? 2 : 1)
const isSingle = (content: string): boolean => content.length === firstLength(content)

const escaped = (content: string): string => content.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')

/** Proper beginnings and endings of the contents: what could be half a control token at an end of a text. */
function halvesOf(contents: readonly string[]): { heads: ReadonlySet<string>; tails: ReadonlySet<string> } {
  const [heads, tails] = [new Set<string>(), new Set<string>()]
  for (const content of contents) {
    for (let at = 1; at < content.length; at++) {
      heads.add(content.slice(0, at))
      tails.add(content.slice(at))
    }
  }
  return { heads, tails }
}

/** Where fences go into a text. */
function fenceFinder(contents: readonly string[]): (text: string) => Map<number, string> {
  const beginning = contents.length === 0 ? NOTHING : new RegExp(`(?=(${contents.map(escaped).join('|')}))`, 'g')
  const singles = new Set(contents.filter(isSingle))
  const { heads, tails } = halvesOf(contents)
  const longest = Math.max(0, ...contents.map((content) => content.length))
  return function fencesIn(text) {
    const fences = new Map<number, string>()
    // A fence before a single character must stand right before it.
    const single = (at: number) => fences.set(at, (fences.get(at) ?? '') + SINGLE_FENCE)
    const fence = (at: number) => fences.set(at, FENCE + (fences.get(at) ?? ''))
    for (const { index, 1: content } of text.matchAll(beginning)) {
      // Inside, so that a template that splits or trims the text never parts the fence from what it breaks.
      const character = content!.slice(0, firstLength(content!))
      if (singles.has(character)) single(index)
      if (character !== content) fence(index + character.length)
    }
    // A template may trim a text before it puts its own text beside it.
    const [start, end] = [text.length - text.trimStart().length, text.trimEnd().length]
    for (let n = 1; n < longest && start + n <= end; n++) {
      const head = text.slice(end - n, end)
      if (heads.has(head)) fence(end - n + firstLength(head))
      if (tails.has(text.slice(start, start + n))) fence(start)
    }
    return fences
  }
}

/** @param tokens the control tokens of a tokenizer; no two of one content. */
export function openControls(tokens: readonly ControlToken[]): Controls {
  const standIn = ({ id }: ControlToken): string => `${OPEN}${id}${CLOSE}`
  const standIns = new Map(tokens.map((token) => [token.content, standIn(token)]))
  // The longest first: of two that begin alike, a tokenizer takes the longer.
  const contents = [...standIns.keys()].sort((a, b) => b.length - a.length)
  const unfenced = (content: string) => (isSingle(content) ? `(?<!${SINGLE_FENCE})` : '') + escaped(content)
  const control = contents.length === 0 ? NOTHING : new RegExp(contents.map(unfenced).join('|'), 'g')
  const fencesIn = fenceFinder(contents)
  const clean = (text: string): string => text.replace(OURS, '\uFFFD')
  return {
    standIn,
    clean,
    fence: (text) => {
      const plain = clean(text)
      let [fenced, from] = ['', 0]
      for (const [at, fence] of [...fencesIn(plain)].sort(([a], [b]) => a - b)) {
        fenced += plain.slice(from, at) + fence
        from = at
      }
      return fenced + plain.slice(from)
    },
    mark: (text) => text.replace(control, (content) => standIns.get(content)!).replace(FENCES, ''),
  }
}
