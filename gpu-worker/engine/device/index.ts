export { chooseDevice, DEVICES, type DeviceWish } from './choose.ts'
export {
  CALL_LIMITS,
  type CallLimits,
  type Device,
  type EngineLimits,
  limitsFor,
  type MachineMemory,
  memoryOf,
  sessionOptions,
  threadsFor,
} from './sizes.ts'
