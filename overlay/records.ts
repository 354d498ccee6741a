/**
 * How owners are written down where files cannot have them, for those who make such files outside of an overlay: as
 * fuse-overlayfs and containers/storage read them.
 */

export { decodeOwner, encodeOwner, hostMode, type Owner } from './stored/owner-record.ts'
export { USER_RECORD } from './stored/policy.ts'
export { nameInUpper } from './stored/upper-xattrs.ts'
