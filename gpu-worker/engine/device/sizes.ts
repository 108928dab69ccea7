import { availableParallelism, freemem } from 'node:os'
import type { InferenceSession } from 'onnxruntime-node'
import { SESSION_OPTIONS } from '../ort.ts'

/** Where sessions run. */
export type Device = 'cpu' | 'webgpu' | 'cuda'

/** Options of every session on a device. */
export function sessionOptions(device: Device): InferenceSession.SessionOptions {
  return device === 'cpu' ? SESSION_OPTIONS : { ...SESSION_OPTIONS, executionProviders: [device] }
}

/** What a call may hold. On a CPU calls of some hundred tokens are faster than larger ones; a GPU wants to be filled. */
export interface CallLimits {
  /** Tokens of a call. */
  readonly tokens: number
  /** Bytes that the largest tensor of a call may take; a few such tensors live at once. */
  readonly bytes: number
  readonly members: number
}

export const CALL_LIMITS: Readonly<Record<Device, CallLimits>> = {
  cpu: { tokens: 1024, bytes: 2 ** 26, members: 64 },
  webgpu: { tokens: 16384, bytes: 2 ** 27, members: 512 },
  cuda: { tokens: 16384, bytes: 2 ** 28, members: 512 },
}

/** What a machine has when an engine is opened. */
export interface MachineMemory {
  readonly cores: number
  /** Bytes that are free, within what a container allows. */
  readonly free: number
}

/** This machine, as it is now. */
export function memoryOf(): MachineMemory {
  const limit = process.constrainedMemory()
  const allowed = limit > 0 ? Math.max(0, limit - process.memoryUsage.rss()) : Number.POSITIVE_INFINITY
  return { cores: availableParallelism(), free: Math.min(freemem(), allowed) }
}

/** Weights in a session: read where they lie, and packed for its kernels. */
const COPIES = 2
/** Of what is free, an engine plans with half: activations, data and others on the machine need the rest. */
const SHARE = 0.5

/** Threads that the machine's cores and memory allow, at least one. A GPU has one queue. */
export function threadsFor(device: Device, machine: MachineMemory, weightBytes: number): number {
  if (device !== 'cpu') return 1
  const byMemory = Math.floor((SHARE * machine.free) / Math.max(1, COPIES * weightBytes))
  return Math.max(1, Math.min(machine.cores, byMemory))
}

/** Parts of a thread's memory for the tensors of a call: several of the largest live at once. */
const CALL_PART = 1 / 16
const LEAST_CALL_BYTES = 2 ** 22

export interface EngineLimits {
  readonly call: CallLimits
  /** Lengths whose sessions are kept at once by each thread; the least recently used goes first. */
  readonly buckets: number
}

/** Limits of each thread of an engine, fixed when it is opened: a function of the machine and the model, not of any data. */
export function limitsFor(
  device: Device,
  machine: MachineMemory,
  engine: { readonly threads: number; readonly weightBytes: number },
): EngineLimits {
  const perThread = (SHARE * machine.free) / engine.threads
  const { tokens, bytes, members } = CALL_LIMITS[device]
  const call = { tokens, members, bytes: Math.max(LEAST_CALL_BYTES, Math.min(bytes, perThread * CALL_PART)) }
  const buckets = Math.floor(perThread / Math.max(1, COPIES * engine.weightBytes))
  return { call, buckets: Math.max(1, buckets) }
}
