/**
 * Hash trees: reading through them, checking whole images, and making them.
 * @module atomfs-fuse/verity
 */

export * from './algorithm.ts'
export * from './append.ts'
export * from './failure.ts'
export { fsVerityDigest } from './fs-verity.ts'
export * from './geometry.ts'
export { DEFAULT_CACHE_BYTES } from './hash-tree.ts'
export * from './hashed-source.ts'
export * from './open.ts'
export { rootHashOfTree } from './root-of-tree.ts'
export * from './scan.ts'
export * from './superblock.ts'
export * from './table.ts'
export { VerifiedSource, type VerifiedSourceOptions } from './verified-source.ts'
