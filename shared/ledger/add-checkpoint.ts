import { cosignedAt, parseWitnessKey } from './cosignature.ts'
import { consistencyProof, type Hash } from './merkle.ts'
import { NoteError, type Signer, toBase64, type VerifyEd25519 } from './note.ts'

/** Asking witnesses (https://c2sp.org/tlog-witness): each cosigns a checkpoint only where it continues the last one that it saw. */

export interface Witness {
  readonly url: URL
  readonly signer: Signer
}

/** A cosignature, and the note with it. */
export interface Cosigned {
  readonly witness: string
  /** Seconds since 1970. */
  readonly time: number
  readonly note: string
}

/** `unreachable`: ask again. The others mean that somebody is shown another log than this one, or that it is no witness. */
export class WitnessError extends Error {
  readonly code: 'unreachable' | 'log_was_longer' | 'another_log' | 'bad_cosignature'
  constructor(code: WitnessError['code'], message: string) {
    super(message)
    this.name = 'WitnessError'
    this.code = code
  }
}

/** `URL=VERIFIERKEY`, as `sotto witness` prints the key. @returns null where it is not */
export function parseWitness(text: string): Witness | null {
  const [, url, key] = /^(https?:\/\/[^\s=]+)=(\S+)$/.exec(text) ?? []
  const signer = parseWitnessKey(key ?? '')
  const address = URL.parse(url ?? '')
  return address && signer ? { url: new URL('/add-checkpoint', address), signer } : null
}

/** Sends a body by POST. @throws anything where nobody answers */
export type PostText = (url: URL, body: string) => Promise<{ readonly status: number; readonly text: string }>

/**
 * Has a witness cosign a checkpoint.
 * @param log the signed note, and the leaves of the tree that it is of
 * @throws WitnessError
 */
export async function askWitness(
  { url, signer }: Witness,
  log: { readonly note: string; readonly leaves: readonly Hash[] },
  by: { readonly post: PostText; readonly verify: VerifyEd25519 },
): Promise<Cosigned> {
  const { note, leaves } = log
  const ask = async (old: number) => {
    const proof = old === 0 ? [] : consistencyProof(leaves, old)
    return await by.post(url, [`old ${old}`, ...proof.map(toBase64), '', note].join('\n')).catch(() => {
      throw new WitnessError('unreachable', `the witness at ${url.origin} can not be reached`)
    })
  }
  let answer = await ask(0)
  if (answer.status === 409) {
    const seen = Number(answer.text.trim())
    if (!(seen <= leaves.length)) {
      const what = `saw ${seen} records of this log, and ${leaves.length} are here: it was cut, or there are two`
      throw new WitnessError('log_was_longer', `${signer.name} ${what}`)
    }
    answer = await ask(seen)
  }
  if (answer.status === 409 || answer.status === 422)
    throw new WitnessError('another_log', `${signer.name} saw another log of this run: somebody is shown a fork`)
  if (answer.status !== 200)
    throw new WitnessError('unreachable', `the witness at ${url.origin} answered ${answer.status}`)
  const cosigned = `${note}${answer.text}`
  try {
    return { witness: signer.name, time: await cosignedAt(cosigned, signer, by.verify), note: cosigned }
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    const what = `answered with a cosignature that is not its own: ${error.code}`
    throw new WitnessError('bad_cosignature', `${signer.name} ${what}`)
  }
}
