export { type DataWorkerOptions, runDataWorker } from './blocks/data-worker.ts'
export { type HostFileReader, InlineDataPath, type InlineOptions } from './blocks/inline-data-path.ts'
export { pendingAges } from './blocks/jobs.ts'
export { PooledBackground } from './blocks/pooled-background.ts'
export { PooledDataPath, type PooledOptions } from './blocks/pooled-data-path.ts'
export { Rehearsal, rehearse } from './blocks/rehearsal.ts'
export type { SharedBuffers } from './blocks/shared-buffers.ts'
export { allocateShared } from './blocks/shared-cache.ts'
export { TaskQueue } from './blocks/task-queue.ts'
export { WorkerPool } from './blocks/worker-pool.ts'
export { DeviceError, type DeviceLoopOptions, runDeviceLoop } from './device/device-loop.ts'
export { type Counter, Counters, readCounters } from './protocol/counters.ts'
export type { DataPath, ReadRequest, ReadTarget } from './protocol/data-path.ts'
export { REPLY_FILLED, REPLY_TAKEN } from './protocol/data-path.ts'
export { MAX_READ, MAX_WRITE, type Negotiated } from './protocol/init.ts'
export { OPERATIONS, type Operation } from './protocol/opcodes.ts'
export {
  Protocol,
  type ProtocolOptions,
  REQUEST_BUFFER_SIZE,
} from './protocol/protocol.ts'
export { WRITE_OPERATIONS } from './protocol/write-opcodes.ts'
