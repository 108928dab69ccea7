import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../e2e/harness.ts'
import { blocksOf, filesOf, PAGES, textOf } from './pages.ts'

/** A page without its fenced blocks, in which nothing is a link or a heading. */
const proseOf = (markdown: string): string => markdown.replace(/^([ \t]*)(```+)[\s\S]*?^\1\2[ \t]*$/gm, '')

/** Inline code, across the end of a line too. */
const codeIn = (page: string): string[] =>
  [...proseOf(textOf(page)).matchAll(/`([^`]+)`/g)].map(([, code]) => code!.replace(/\s+/g, ' ').trim())

const withoutCode = (markdown: string) => proseOf(markdown).replace(/`[^`]*`/g, '')

/** Targets of links and images. */
const linksIn = (markdown: string): string[] =>
  [...withoutCode(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)

/** Anchors as GitHub makes them of headings. */
function anchorsOf(page: string): Set<string> {
  const seen = new Map<string, number>()
  const anchors = [...proseOf(textOf(page)).matchAll(/^#{1,6}\s+(.*)$/gm)].map(([, heading]) => {
    const slug = heading!
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
      .replaceAll(' ', '-')
    const before = seen.get(slug) ?? 0
    seen.set(slug, before + 1)
    return before === 0 ? slug : `${slug}-${before}`
  })
  return new Set(anchors)
}

/** What is wrong with a link, or null. */
function fault(page: string, target: string): string | null {
  if (/^(https?:|mailto:)/.test(target)) return URL.canParse(target) ? null : 'no address'
  const [path = '', anchor] = target.split('#')
  const file = path === '' ? page : normalize(join(dirname(page), path))
  if (file.startsWith('..') || !existsSync(join(ROOT, file))) return 'leads nowhere'
  if (anchor === undefined) return null
  if (!file.endsWith('.md')) return 'an anchor in what is no page'
  return anchorsOf(file).has(anchor) ? null : 'no such heading'
}

const HELPS = new Map<string, { status: number | null; text: string }>()
/** What a command says of itself. */
function helpOf(verbs: readonly string[]) {
  const name = verbs.join(' ')
  const known = HELPS.get(name)
  if (known) return known
  const args = [join(ROOT, 'cli/sotto.mjs'), ...verbs, '--help']
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  const help = { status, text: stdout + stderr }
  HELPS.set(name, help)
  return help
}

/** Nouns that are commands by themselves: what follows them is not a verb. */
const ALONE = new Set(['dev', 'init', 'login', 'witness', 'completion'])

/** A command that a text mentions: its verbs, and the flags that it is said to take. */
function mention(code: string) {
  const words = code.replace(/^npx /, '').split(' ').slice(1)
  const end = words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word))
  const plain = end === -1 ? words : words.slice(0, end)
  const [noun = '', verb = ''] = plain
  const depth = ALONE.has(noun) ? 1 : `${noun} ${verb}` === 'audit canaries' ? 3 : 2
  return {
    verbs: plain.slice(0, depth),
    flags: words.filter((word) => word.startsWith('--')).map((word) => word.split('=')[0]!),
  }
}

/** A verb that is not there is answered by the help of its noun, with 0. */
function isKnown({ verbs, flags }: { verbs: readonly string[]; flags: readonly string[] }): boolean {
  const { status, text } = helpOf(verbs)
  return status === 0 && text.includes(`sotto ${verbs.join(' ')}`) && flags.every((flag) => text.includes(flag))
}

describe('links and names in the documentation', () => {
  it.each(PAGES)('every link of %s leads somewhere', (page) => {
    const faults = linksIn(textOf(page)).map((target) => [target, fault(page, target)] as const)
    expect(faults.filter(([, what]) => what !== null)).toEqual([])
  })

  it('README lists every page of docs/, and those that stand beside it', () => {
    const listed = new Set(linksIn(textOf('README.md')).map((target) => target.split('#')[0]!))
    const wanted = PAGES.filter((page) => /^(docs\/)?[^/]+\.md$/.test(page) && page !== 'README.md')
    expect(wanted.filter((page) => !listed.has(page))).toEqual([])
  })

  it('names files and folders that are there', () => {
    const [folders, own] = [filesOf('*/*').map((file) => file.split('/')[0]!), new Set(['.ci', '.github'])]
    const top = new Set([...folders, ...own])
    const isPath = (code: string) => /^[\w.-]+(\/[\w.-]+)+\/?$/.test(code) && top.has(code.split('/')[0]!)
    const missing = PAGES.flatMap((page) =>
      codeIn(page)
        .filter((code) => isPath(code) && !existsSync(join(ROOT, code)))
        .map((code) => `${page}: ${code}`),
    )
    expect(missing).toEqual([])
  })

  it('names scripts of package.json that are there', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object }
    const all = PAGES.flatMap((page) => [...codeIn(page), ...blocksOf(textOf(page)).flatMap(({ lines }) => lines)])
    const named = new Set(all.flatMap((code) => [...code.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => name!)))
    expect(named.size).toBeGreaterThan(3)
    expect([...named].filter((name) => !(name in scripts))).toEqual([])
  })

  it('names commands and flags of sotto that are there', () => {
    const named = PAGES.flatMap((page) =>
      codeIn(page)
        .filter((code) => /^(npx )?sotto [a-z]/.test(code))
        .map((code) => ({ page, code, ...mention(code) })),
    )
    expect(named.length).toBeGreaterThan(10)
    const unknown = named.filter((each) => !isKnown(each))
    expect(unknown.map(({ page, code }) => `${page}: ${code}`)).toEqual([])
  })

  it('sees what is wrong', () => {
    expect(linksIn('```sh\na [x](no)\n```\n\n```\nb\n```\n`[x](no)` [y](a.md#b) ![z](c.png)')).toEqual([
      'a.md#b',
      'c.png',
    ])
    expect(fault('README.md', 'docs/nowhere.md')).toBe('leads nowhere')
    expect(fault('README.md', '../elsewhere')).toBe('leads nowhere')
    expect(fault('README.md', 'docs/privacy.md#no-such')).toBe('no such heading')
    expect(fault('docs/cli.md', '#exit-codes')).toBeNull()
    expect(fault('docs/audit.md', 'cli.md#sotto-audit')).toBeNull()
    expect(statSync(join(ROOT, 'docs')).isDirectory() && fault('README.md', 'docs/decisions')).toBeNull()
    expect(mention('npx sotto run create -f x --wait')).toEqual({ verbs: ['run', 'create'], flags: ['--wait'] })
    expect(mention('sotto completion bash').verbs).toEqual(['completion'])
    expect(isKnown(mention('sotto audit run RUN --html audit.html'))).toBe(true)
    expect(isKnown(mention('sotto audit run RUN --nonsense'))).toBe(false)
    expect(isKnown(mention('sotto audit nonsense RUN'))).toBe(false)
  })
})
