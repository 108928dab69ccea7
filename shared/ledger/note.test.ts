import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { leafHash, rootOf, treeOf } from './merkle.ts'
import {
  checkpointText,
  fromBase64,
  type NoteError,
  openCheckpoint,
  openNote,
  parseCheckpoint,
  parseNote,
  type Signer,
  signCheckpoint,
  signNote,
  verifierKey,
} from './note.ts'

const PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

function newSigner(
  name: string,
): Signer & { sign: (message: Uint8Array) => Promise<Uint8Array<ArrayBuffer>>; key: KeyObject } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(PREFIX.length))
  return {
    name,
    publicKey: raw,
    key: privateKey,
    sign: async (message) => new Uint8Array(sign(null, message, privateKey)),
  }
}

const log = newSigner('example.org/run-1')
const root = rootOf(treeOf(['a', 'b', 'c'].map(leafHash)))
const codeOf = (error: unknown) => (error as NoteError).code
const refusal = async (asked: Promise<unknown>) => await asked.then(() => 'accepted', codeOf)

describe('notes', () => {
  it('have the key id and the verification of the example in the specification of signed notes', async () => {
    // golang.org/x/mod/sumdb/note, whose format the specification took over.
    const [name, id, key] = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'.split('+')
    const publicKey = fromBase64(key!)!.slice(1)
    expect(verifierKey({ name: name!, publicKey })).toBe(`${name}+${id}+${key}`)
    const note =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n" +
      '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
    expect(await openNote(note, { name: name!, publicKey }, verifyEd25519)).toContain('your problem is.\n')
    const changed = note.replace('answer', 'Answer')
    expect(await refusal(openNote(changed, { name: name!, publicKey }, verifyEd25519))).toBe('bad_signature')
  })

  it('open for whom they are signed by, and say why they do not for others', async () => {
    const note = await signNote('some text\n', log, log.sign)
    expect(await openNote(note, log, verifyEd25519)).toBe('some text\n')
    const stranger = newSigner(log.name)
    expect(await refusal(openNote(note, stranger, verifyEd25519))).toBe('unsigned')
    expect(await refusal(openNote(note, { ...log, name: 'another' }, verifyEd25519))).toBe('unsigned')
    const other = await signNote('some text\n', newSigner('witness'), log.sign)
    const both = note + other.slice(other.lastIndexOf('\u2014'))
    expect(await openNote(both, log, verifyEd25519)).toBe('some text\n')
  })

  it('are read in their one form alone', async () => {
    const note = await signNote('text\n\nmore\n', log, log.sign)
    expect(parseNote(note).text).toBe('text\n\nmore\n')
    const wrong = [
      note.slice(0, -1),
      note.replace('\n\n\u2014', '\n\u2014'),
      note.replace('\u2014', '-'),
      note.replace('\u2014 ', '\u2014  '),
      note.replace('text', 'te\txt'),
      note.replace('text', 'te\rxt'),
      note.replace('text', 'te\ud800xt'),
      note.replace(/=\n$/, '\n'),
      `${note}\n`,
      '\n\u2014 a AAAA\n',
      '',
      `text\n\n${'\u2014 a AAAAAAA=\n'.repeat(65)}`,
      `${'x'.repeat(70_000)}\n\n\u2014 a AAAAAAA=\n`,
    ]
    for (const each of wrong) expect(() => parseNote(each), JSON.stringify(each.slice(0, 80))).toThrow('not_a_note')
  })
})

describe('checkpoints', () => {
  const at = { origin: log.name, size: 3, root }

  it('come back as they were signed', async () => {
    const note = await signCheckpoint(at, log, log.sign)
    expect(note.split('\n').slice(0, 2)).toEqual(['example.org/run-1', '3'])
    expect(await openCheckpoint(note, log, verifyEd25519)).toEqual(at)
  })

  it('of another log do not pass for this one', async () => {
    const note = await signCheckpoint({ ...at, origin: 'example.org/run-2' }, log, log.sign)
    expect(await refusal(openCheckpoint(note, log, verifyEd25519))).toBe('wrong_origin')
  })

  it.each([
    ['a leading zero', checkpointText(at).replace('\n3\n', '\n03\n')],
    ['no number', checkpointText(at).replace('\n3\n', '\n-3\n')],
    ['a short root', `${log.name}\n3\nAAAA\n`],
    ['an extension line', `${checkpointText(at)}more\n`],
    ['no newline at its end', checkpointText(at).trimEnd()],
    ['no origin', `\n3\n${checkpointText(at).split('\n')[2]}\n`],
    ['too large a size', checkpointText(at).replace('\n3\n', '\n99999999999999999999\n')],
  ])('are read in their one form alone: not with %s', (_, text) => {
    expect(() => parseCheckpoint(text)).toThrow('not_a_checkpoint')
  })
})
