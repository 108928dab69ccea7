import { verifyEd25519 } from '../../cli/audit/log.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { auditRun } from '../../shared/ledger/index.ts'
import { finishedRun } from './theatre.ts'

/**
 * Flips, cuts, losses and swaps of the objects of a finished run and of its datasets, at random, each audited.
 * @param random an integer below a bound
 * @returns those that the audit did not find, by what was done
 */
export async function tamperings(
  wanted: number,
  random: (bound: number) => number,
): Promise<{ tried: number; missed: string[] }> {
  const theatre = await finishedRun()
  const { publicKey } = await openLogKey('rehearsal', new Uint8Array(32))
  const question = { run: theatre.runId, name: 'rehearsal', publicKey, verify: verifyEd25519 }
  const { objects } = theatre.objects
  // Stored states are a cache that nobody has to believe.
  const keys = [...objects.keys()].filter((key) => !key.includes('/checkpoints/'))
  const missed: string[] = []
  for (let tried = 0; tried < wanted; tried++) {
    const changed = new Map(objects)
    const key = keys[random(keys.length)]!
    const bytes = objects.get(key)!.slice()
    const kind = random(5)
    if (kind === 0) changed.delete(key)
    else if (kind === 1) changed.set(key, bytes.subarray(0, random(bytes.length)))
    else if (kind === 2) changed.set(key, objects.get(keys.filter((each) => each !== key)[random(keys.length - 1)]!)!)
    else {
      bytes[random(bytes.length)]! ^= 1 << random(8)
      changed.set(key, bytes)
    }
    const holds = await auditRun({ read: async (at) => changed.get(at) ?? null }, question).then(
      () => true,
      () => false,
    )
    if (holds) missed.push(`${key}: ${['gone', 'cut', 'swapped', 'flipped', 'flipped'][kind]}`)
  }
  return { tried: wanted, missed }
}
