import { describe, expect, test } from 'vitest'
import { distinct, normalise } from './duplicates.ts'
import { MAILBOX_SIZE, type Mail, splitMail, TEST_SIZE } from './index.ts'
import { MAX_CHARACTERS, readMail, stripHtml, tidy } from './plain.ts'

const split = await splitMail()
const parts: Record<string, Mail[]> = { public: split.public, test: split.test, ...split.mailboxes }
const withoutSubject = (text: string): string => text.slice(text.indexOf('. ') + 2)

describe('splitMail', () => {
  test('is the same every time', async () => {
    expect(await splitMail()).toEqual(split)
  })

  test('has three full mailboxes, a test set and public text', () => {
    for (const mails of Object.values(split.mailboxes)) expect(mails).toHaveLength(MAILBOX_SIZE)
    expect(split.test).toHaveLength(TEST_SIZE)
    expect(split.public.length).toBeGreaterThan(900)
  })

  test('has both labels everywhere, in like proportion', () => {
    for (const mails of Object.values(parts)) {
      const spam = mails.filter((mail) => mail.label === 'spam').length / mails.length
      expect(spam).toBeGreaterThan(0.18)
      expect(spam).toBeLessThan(0.3)
    }
  })

  test('has no message twice, in one part or in two', () => {
    const all = Object.values(parts).flat()
    expect(new Set(all.map((mail) => normalise(mail.text))).size).toBe(all.length)
    // Texts are cut, bodies were not: a few long mails that differ only behind the cut may look alike here.
    const bodies = all.map((mail) => withoutSubject(mail.text))
    expect(distinct(bodies).length).toBeGreaterThan(0.99 * all.length)
  })

  test('carries no header that gives the label away, and no markup', () => {
    for (const { text } of Object.values(parts).flat()) {
      expect(text).not.toMatch(/^(x-[\w-]+|received|delivered-to|return-path): /i)
      expect(text.length).toBeLessThanOrEqual(MAX_CHARACTERS)
      expect(text).not.toMatch(/[\n\r\t]/)
    }
    // A filter's verdict is discussed on some of the lists; it may not mark the spam.
    const marked = Object.values(parts)
      .flat()
      .filter(({ text }) => /x-spam-(status|level|flag)/i.test(text))
    expect(marked.filter(({ label }) => label === 'spam')).toEqual([])
  })
})

describe('readMail', () => {
  const raw = [
    'From: a@example.org',
    'X-Spam-Status: Yes',
    'Subject: =?utf-8?Q?Re:_[list]_caf=C3=A9?=',
    'Content-Type: text/html; charset=utf-8',
    'Content-Transfer-Encoding: quoted-printable',
    '',
    '<html><style>p {}</style><p>Buy=20now</p><script>x()</script> at <a href=3D"http://x.example">a@b.example</a>',
  ].join('\r\n')

  test('decodes subject and body and drops the rest', async () => {
    expect(await readMail(raw)).toEqual({ subject: 'café', body: 'Buy now at address' })
  })

  test('survives broken markup and entities', () => {
    expect(tidy(stripHtml('<p>1 < 2 &amp; 3 &#x41;&#0; <script>never closed'))).toBe('1 < 2 & 3 A&#0;')
  })
})

describe('distinct', () => {
  const body = 'Dear friend, we offer you a mortgage with the lowest rate in the country, call us today and save a lot'

  test('drops copies that differ in a name, a number or a link', () => {
    const other = body.replace('friend', 'Joe').concat(' at http://x.example 12345')
    expect(distinct([body, body.toUpperCase(), other, 'something else entirely, said once and never again'])).toEqual([
      0, 3,
    ])
  })
})
