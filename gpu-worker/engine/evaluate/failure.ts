import { EngineError } from '../error.ts'

/**
 * What a failure of the runtime means to a user. Its own messages may repeat values or name temporary files, so only our
 * texts leave; the original stays as the cause for a debugger.
 */

const textOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const OUT_OF_MEMORY =
  /bad_alloc|out of memory|failed to allocate|allocat(?:e|ion) .*fail|\bOOM\b|Array buffer allocation/i
const DEVICE_LOST = /device (?:is |was )?lost|DeviceLost|device removed|CUDA error|CUDNN|context lost/i
const NO_DEVICE =
  /no supported (?:adapter|device)|failed to get (?:a )?(?:gpu )?adapter|requestAdapter|LoadLibrary|libonnxruntime_providers_|not available|CUDA driver/i

function known(cause: unknown): EngineError | undefined {
  const text = textOf(cause)
  if (cause instanceof EngineError) return cause
  if (OUT_OF_MEMORY.test(text))
    return new EngineError(
      'out_of_memory',
      'memory ran out: use shorter buckets, fewer threads, a quantised variant, or a machine with more memory',
      { cause },
    )
  if (DEVICE_LOST.test(text))
    return new EngineError('device_lost', 'the device was lost: the lease is given up, nothing was reported', { cause })
  return undefined
}

/** Names of nodes and operators are the model's, and no data: where the runtime says which, so do we. */
const PLACES: readonly RegExp[] = [
  /Node \(([^)]*)\) Op \(([^)]*)\)/,
  /implementation for (\S+) node with name '([^']*)'/,
  /No Op registered for (\S+)/,
]

function placeIn(text: string): string {
  const found = PLACES.map((pattern) => pattern.exec(text)).find((match) => match !== null)
  return found ? ` at ${found.slice(1).filter(Boolean).join(' ')}` : ''
}

/** Why a session could not be made. */
export function sessionFailure(cause: unknown): EngineError {
  if (NO_DEVICE.test(textOf(cause)))
    return new EngineError(
      'device_missing',
      'the device cannot be used here: choose --device cpu, or install its driver',
      {
        cause,
      },
    )
  return (
    known(cause) ??
    new EngineError('unsupported_graph', `the runtime refuses the graph${placeIn(textOf(cause))}`, { cause })
  )
}

/** Why a session failed while running. */
export function runFailure(cause: unknown): EngineError {
  return known(cause) ?? new EngineError('runtime_failed', 'the runtime failed while evaluating', { cause })
}
