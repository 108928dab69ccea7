import { EngineError } from '../error.ts'

/**
 * What a failure of the runtime means to a user. Its own messages may repeat values or name temporary files, so only our
 * texts leave; the original stays as the cause for a debugger.
 */

const textOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const OUT_OF_MEMORY = /bad_alloc|out of memory|failed to allocate|allocat(?:e|ion) .*fail|OOM|Array buffer allocation/i
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
  return known(cause) ?? new EngineError('unsupported_graph', 'the runtime refuses the rewritten graph', { cause })
}

/** Why a session failed while running. */
export function runFailure(cause: unknown): EngineError {
  return known(cause) ?? new EngineError('runtime_failed', 'the runtime failed while evaluating', { cause })
}
