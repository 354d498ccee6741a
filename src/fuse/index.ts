/**
 * The FUSE protocol of the kernel: what serves a file system on an open /dev/fuse.
 * @module atomfs-fuse/fuse
 */

export type { AnswerTarget } from './blocks/answer-target.ts'
export { allocateCounters, type Counter, Counters, readCounters, readOpcodes } from './blocks/counters.ts'
export { type DataWorkerOptions, type JobAskers, runDataWorker, taskRunner } from './blocks/data-worker.ts'
export { InlineDataPath, type InlineOptions } from './blocks/inline-data-path.ts'
export { type Asker, pendingAges } from './blocks/jobs.ts'
export { PooledBackground } from './blocks/pooled-background.ts'
export { type FairReader, PooledDataPath, type PooledOptions } from './blocks/pooled-data-path.ts'
export { PooledFetcher } from './blocks/pooled-fetcher.ts'
export type { SharedBuffers } from './blocks/shared-buffers.ts'
export { allocateShared } from './blocks/shared-cache.ts'
export { Staff } from './blocks/staff.ts'
export { TaskQueue } from './blocks/task-queue.ts'
export { WorkerPool } from './blocks/worker-pool.ts'
export { abandonSlots, buryWorker } from './device/dead-worker.ts'
export { DeviceError } from './device/device.ts'
export { type DeviceLoopOptions, runDeviceLoop } from './device/device-loop.ts'
export { GatherReply } from './device/gather-reply.ts'
export { type Settled, settleRequests } from './device/unanswered.ts'
export { FairReads, type MountReader } from './mounts/fair-reads.ts'
export { MAX_MOUNTS, MountTable } from './mounts/mount-table.ts'
export { MountsLoop, type MountsLoopOptions, type ServedMount } from './mounts/mounts-loop.ts'
export { ChangeGate, GateKeeper } from './protocol/change-gate.ts'
export { MAX_WRITE, type Negotiated, REQUEST_BUFFER_SIZE } from './protocol/init.ts'
export { DEFAULT_KERNEL_OPTIONS, type KernelOptions } from './protocol/kernel-options.ts'
export { OPERATIONS, operationName } from './protocol/opcodes.ts'
export type { Operation } from './protocol/operation.ts'
export {
  allocateProtocolBuffers,
  Protocol,
  type ProtocolBuffers,
  type ProtocolOptions,
  type RequestCounter,
} from './protocol/protocol.ts'
export {
  allocateRequestMemory,
  type LeftBehind,
  leftBehind,
  type RequestMemory,
} from './protocol/under-way.ts'
export { WRITE_OPERATIONS } from './protocol/write-opcodes.ts'
export { PlayedMount } from './rehearsal/played-mount.ts'
export { type KnownPath, Rehearsal, rehearse } from './rehearsal/rehearsal.ts'
export type { Rehearsed } from './rehearsal/rehearsed.ts'
