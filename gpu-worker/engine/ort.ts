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

/** Severity 4 is "fatal": errors name values, such as a token beyond a table, and warnings name nodes; both would go to stderr. */
const LOG_FATAL = 4

/**
 * A product whose weights alone are quantised must not have its activations quantised too: the optimizer does so by default,
 * and then losses are a staircase and differ from what the model says. 1 is float32.
 */
const WEIGHTS_ONLY = { qdq_matmulnbits_accuracy_level: '1' }

/**
 * Products of activations and weights of 8 bits in one kernel. On processors without instructions of their own for that
 * (VNNI), sums of two such products saturate at 16 bits, and the losses are not what the model says.
 */
const NO_INTEGER_PRODUCTS = { disable_quant_qdq: '1' }

/** Options of sessions of a graph whose activations are quantised, with scales from its file: computed as it is written. */
export const STATIC_QUANTISATION = { extra: { session: { ...WEIGHTS_ONLY, ...NO_INTEGER_PRODUCTS } } }

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
  logSeverityLevel: LOG_FATAL,
  extra: { session: WEIGHTS_ONLY },
}
