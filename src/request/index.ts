/**
 * What a mount is asked for, as the command line and the library say it. What the daemon gets is checked by `schema.ts`,
 * which a command does not load.
 */

export { parseFuse2fsOptions, preloadedOffset } from './fuse2fs-options.ts'
export { parseGocryptfsOptions } from './gocryptfs-options.ts'
export { MAX_ID, parseIdRanges } from './id-mapping.ts'
export { nameAndValue, type ParsedMountOptions, parseMountOptions, splitOptions } from './mount-options.ts'
export { buildMountRequest, type CommonWish, type MountWish } from './mount-request.ts'
export { buildOverlayRequest, type OverlayRequest, type OverlayWish } from './overlay-request.ts'
export type { MountOptions, MountRequest } from './request.ts'
export { parseRootHash } from './root-hash.ts'
export {
  parseSquashfuseOptions,
  type SquashfuseName,
  type SquashfuseOptions,
} from './squashfuse-options.ts'
export { parseInteger, parseOffset, parseSize, parseVerifyMode } from './values.ts'
