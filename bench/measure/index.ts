export { runClient } from './client.ts'
export { otherWork } from './other-work.ts'
export { ACTION_TIMEOUT, dropCaches, expectAnswer, type Session, timedScript, type Unit } from './session.ts'
export { cpuSecondsOf, machineCpuSeconds, usageOf } from './usage.ts'
