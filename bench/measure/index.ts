export { runClient } from './client.ts'
export { ACTION_TIMEOUT, dropCaches, expectAnswer, type Session, timedScript, type Unit } from './session.ts'
export { cpuSecondsOf, machineCpuSeconds, usageOf } from './usage.ts'
