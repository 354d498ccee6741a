export type { DataPath, ReadRequest, ReadTarget } from './data-path.ts'
export { REPLY_FILLED, REPLY_TAKEN } from './data-path.ts'
export { type DataWorkerOptions, runDataWorker } from './data-worker.ts'
export { DeviceError, type DeviceLoopOptions, runDeviceLoop } from './device-loop.ts'
export { MAX_READ, MAX_WRITE, type Negotiated } from './init.ts'
export { type HostFileReader, InlineDataPath, type InlineOptions } from './inline-data-path.ts'
export { OPERATIONS, type Operation } from './opcodes.ts'
export { PooledDataPath, type PooledOptions } from './pooled-data-path.ts'
export { type Log, type LogLevel, Protocol, type ProtocolOptions, REQUEST_BUFFER_SIZE } from './protocol.ts'
export { Rehearsal, rehearse } from './rehearsal.ts'
export {
  allocateShared,
  type Counter,
  Counters,
  pendingAges,
  readCounters,
  type SharedBuffers,
  TaskQueue,
} from './shared-cache.ts'
export { WRITE_OPERATIONS } from './write-opcodes.ts'
