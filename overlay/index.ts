export * from './host-directory.ts'
export * from './layer.ts'
export * from './merged-tree.ts'
export { type IdRange, type IdRule, OVERFLOW_ID } from './owner.ts'
export { RecordedDirectoryLayer } from './recorded-directory.ts'
export { removeAccessLists } from './upper/passed-on.ts'
export type { HostFileReader } from './upper/upper.ts'
export {
  type FsyncPolicy,
  probeUpper,
  readPolicy,
  recordInUse,
  type UpperPolicy,
  type WishedPolicy,
} from './upper/upper-policy.ts'
export { WorkDirectory } from './upper/work-directory.ts'
export { WritableTree, type WritableTreeOptions } from './upper/writable-tree.ts'
