/**
 * The merge of layers, read-only or with an upper directory.
 * @module atomfs-fuse/overlay
 */

export * from './host/host-directory.ts'
export { RecordedDirectoryLayer } from './host/recorded-directory.ts'
export * from './merge/merged-tree.ts'
export { adapted } from './stored/adapted-layer.ts'
export * from './stored/layer-flags.ts'
export { NarrowInodes } from './stored/narrow-inodes.ts'
export { type IdRange, type IdRule, OVERFLOW_ID } from './stored/owner.ts'
export type { FsyncPolicy, RecordOwners, UpperPolicy, WishedPolicy } from './stored/policy.ts'
export { type Effect, type SurveyedEntry, type SurveySink, surveyLayers } from './survey/survey.ts'
export { removeAccessLists } from './upper/disk/passed-on.ts'
export { WorkDirectory } from './upper/disk/work-directory.ts'
export { probeUpper, readPolicy, recordInUse } from './upper/upper-policy.ts'
export { WritableTree, type WritableTreeOptions } from './upper/writable-tree.ts'
