import type { Lease } from '../shared/api/index.ts'
import { askWitness, type PostText, type Witness, WitnessError } from '../shared/ledger/index.ts'
import { WorkerError } from './error.ts'
import { type FollowedRun, verifyEd25519 } from './run-log.ts'

const TIMEOUT_MS = 15_000

export const postText: PostText = async (url, body) => {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const answer = await fetch(url, { method: 'POST', body, redirect: 'error', signal })
  return { status: answer.status, text: await answer.text() }
}

/**
 * Before the data is read: every witness that this site trusts has seen the log that the lease rests on, and no other log of the run;
 * and they are as many as the run wants.
 * @param lease whose signed checkpoint is asked about; the followed log may have grown beyond it
 * @throws WorkerError `policy_refused`, `log_forked`, `unreachable`
 */
export async function requireCosigned(
  run: FollowedRun,
  { note, head }: Pick<Lease, 'note' | 'head'>,
  { witnesses, post = postText }: { witnesses: readonly Witness[]; post?: PostText },
): Promise<void> {
  const { cosignatures = 0 } = run.spec
  if (witnesses.length < cosignatures) {
    const known = witnesses.length === 0 ? 'none is' : `${witnesses.length} are`
    throw new WorkerError(
      'policy_refused',
      `run ${run.id} wants its log cosigned by ${cosignatures} witnesses, and ${known} named by --witness`,
    )
  }
  const leaves = run.leaves.slice(0, head.size)
  for (const witness of witnesses) {
    try {
      await askWitness(witness, { note, leaves }, { post, verify: verifyEd25519 })
    } catch (error) {
      if (!(error instanceof WitnessError)) throw error
      throw new WorkerError(error.code === 'unreachable' ? 'unreachable' : 'log_forked', error.message, error)
    }
  }
}
