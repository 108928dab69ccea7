import type { InferenceSession } from 'onnxruntime-node'

/**
 * The one door to onnxruntime. Its Linux library holds a telemetry client that reads this variable while loading, so the
 * variable is set before the library is, and nothing else may import onnxruntime-node as a value.
 */
export const TELEMETRY_SWITCH = 'ORT_DISABLE_TELEMETRY'

export type Runtime = typeof import('onnxruntime-node')

/**
 * Sets the switch in this thread's environment. A thread with an own copy of the environment cannot reach the one of the
 * process, which is the one the library reads: the thread that starts workers calls this and shares its environment.
 */
export function disableTelemetry(): void {
  process.env[TELEMETRY_SWITCH] = '1'
}

/** Loads the runtime, telemetry off. */
export async function loadRuntime(): Promise<Runtime> {
  disableTelemetry()
  return import('onnxruntime-node')
}

/** Log severity 3 is "error": warnings of the optimizer would print node names of every session. */
const LOG_ERROR = 3

/**
 * One thread and sequential execution: how a kernel splits its work, and so the last bits of a sum, then never depends
 * on the machine's load or number of cores.
 */
export const SESSION_OPTIONS: InferenceSession.SessionOptions = {
  executionProviders: ['cpu'],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  logSeverityLevel: LOG_ERROR,
}
