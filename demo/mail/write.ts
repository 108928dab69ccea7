import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Mail, splitMail } from './index.ts'

const directory = process.argv[2]
if (directory === undefined) throw new Error('usage: node demo/mail/write.ts DIRECTORY')

const { public: open, mailboxes, test } = await splitMail()
const files: Record<string, Mail[]> = { 'public.txt.jsonl': open, 'test.jsonl': test }
for (const [name, mails] of Object.entries(mailboxes)) files[`${name}.jsonl`] = mails

await mkdir(directory, { recursive: true })
for (const [name, mails] of Object.entries(files)) {
  await writeFile(join(directory, name), mails.map((mail) => `${JSON.stringify(mail)}\n`).join(''))
  const spam = mails.filter((mail) => mail.label === 'spam').length
  process.stdout.write(`${name}: ${mails.length} mails, ${spam} spam\n`)
}
