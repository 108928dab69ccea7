import PostalMime from 'postal-mime'

/** Longer than any prompt the demo cuts (96 tokens), short enough that one mail cannot dominate pretraining. */
export const MAX_CHARACTERS = 4000

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }

function decodeEntity(whole: string, name: string): string {
  if (!name.startsWith('#')) return ENTITIES[name.toLowerCase()] ?? ' '
  const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10)
  return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole
}

/** HTML to its visible words. Not a sanitizer: the result is only ever tokenized. */
export function stripHtml(html: string): string {
  return html
    .replace(/<!--[\s\S]*?(-->|$)/g, '')
    .replace(/<(script|style|title)\b[\s\S]*?(<\/\1\s*>|$)/gi, ' ')
    .replace(/<\/?(p|br|div|td|th|tr|table|li|ul|ol|h\d|hr|center|title|body|option)\b[^>]*>/gi, ' ')
    .replace(/<[a-z!?/][^>]*>/gi, '')
    .replace(/&(#x?[\da-f]+|[a-z]+);?/gi, decodeEntity)
}

/**
 * Text as a reader sees it, on one line. Addresses and links become one word each: they name people and
 * the collector's own mailboxes (which would give the label away), and cost many tokens.
 */
export function tidy(text: string): string {
  return text
    .replace(/^SPAM:.*$/gm, ' ') // lines a filter wrote into the body
    .replace(/\b(https?|ftp):\/\/\S+|\bwww\.\S+/gi, ' link ')
    .replace(/[\w.+=-]+@[\w.-]+/g, ' address ')
    .replace(/^[>|\s]+/gm, ' ') // quotation marks of replies
    .replace(/[^\S ]+|[\p{C}\uFFFD]+/gu, ' ')
    .replace(/([^\p{L}\p{N}\s])(?:\s?\1){2,}/gu, '$1') // rules drawn with ____ or - - -
    .replace(/ {2,}/g, ' ')
    .trim()
}

/** Subject and body of a raw RFC 5322 mail; every other header stays out. */
export async function readMail(raw: string): Promise<{ subject: string; body: string }> {
  const mail = await PostalMime.parse(raw)
  const written = tidy(mail.text ?? '')
  const shown = mail.html ? tidy(stripHtml(mail.html)) : ''
  // A stub like "your reader cannot show HTML" is not the message.
  const body = written.length * 2 < shown.length ? shown : written
  return { subject: tidy(stripTags(mail.subject ?? '')), body }
}

/** List tags and reply marks in front of a subject: "Re: [ILUG] hello" is "hello". */
function stripTags(subject: string): string {
  return subject.replace(/^(\s*(re|fwd?|aw)(\[\d+\])?:|\s*\[[^\]]{1,40}\]|\s*\*+spam\*+)+/i, '')
}
