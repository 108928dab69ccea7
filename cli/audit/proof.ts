import { type AuditSource, auditRun, openProof, ProofError, proofOfRecord, runLog } from '../../shared/ledger/index.ts'
import { FindingError, InputError, RunError } from '../failure.ts'
import { dataLine, writeResult } from '../output.ts'
import { textIn } from '../reading.ts'
import type { ProofGiven } from './command.ts'
import { auditing, checkedId, signedBy, signerOf, verifyEd25519 } from './log.ts'
import { openSource } from './source.ts'

/** `sotto audit proof`. @throws InputError, UnreachableError, RunError */
export async function proofOf(run: string, given: ProofGiven): Promise<void> {
  if (given.check !== undefined) return await checkProof(run, given.check, given)
  const { from, round } = given
  if (from === undefined || round === undefined)
    throw new InputError('a proof needs --from and --round, or --check FILE')
  if (!/^\d{1,9}$/.test(round)) throw new InputError('--round is a number, from 0')
  const source = await openSource(from)
  const asked = { run, round: Number(round) }
  const proof = await auditing({ run }, () => makeProof(source, { ...asked, given }))
  if (given.output !== undefined) writeResult(proof, given.output)
  if (given.json)
    writeResult(dataLine({ ...asked, ...(given.output === undefined ? { proof } : { output: given.output }) }))
  else if (given.output === undefined) writeResult(proof)
}

/** The log is audited whole before anything of it is handed on. */
async function makeProof(
  source: AuditSource,
  { run, round, given }: { run: string; round: number; given: ProofGiven },
): Promise<string> {
  const audit = await auditRun(source, { run: checkedId(run), ...signedBy(given) })
  const close = audit.records.find((record) => record.type === 'close' && record.round === round)
  const { size } = audit.checkpoint
  if (!close || close.seq >= size) throw new RunError(`round ${round} of ${run} is not closed, or not signed yet`)
  return proofOfRecord(audit.records, close.seq, { note: audit.note, size })
}

async function checkProof(run: string, file: string, given: ProofGiven): Promise<void> {
  try {
    const { record, checkpoint } = await openProof(textIn(file), signerOf(runLog, run, given), verifyEd25519)
    const round = record.type === 'close' ? record.round : null
    const told = { holds: true, run, round, index: record.seq, size: checkpoint.size, record }
    writeResult(
      given.json
        ? dataLine(told)
        : `Record ${record.seq} of ${checkpoint.size}, which closes round ${round}, is in the log of ${run}.\n`,
    )
  } catch (error) {
    if (!(error instanceof ProofError)) throw error
    const { code } = error
    throw new FindingError(`${file} proves nothing of ${run}: ${code}`, { code, holds: false, run })
  }
}
