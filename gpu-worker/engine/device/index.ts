import type { InferenceSession } from 'onnxruntime-node'
import { type CallLimits, CPU_CALL, GPU_CALL } from '../evaluate/chunks.ts'
import { SESSION_OPTIONS } from '../ort.ts'

/** Where sessions run. */
export const DEVICES = ['cpu', 'webgpu', 'cuda'] as const
export type Device = (typeof DEVICES)[number]

/** Options of every session on a device. */
export function sessionOptions(device: Device): InferenceSession.SessionOptions {
  return device === 'cpu' ? SESSION_OPTIONS : { ...SESSION_OPTIONS, executionProviders: [device] }
}

/** How large the calls of a device are. */
export const callLimits = (device: Device): CallLimits => (device === 'cpu' ? CPU_CALL : GPU_CALL)
