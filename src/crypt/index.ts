/**
 * Encrypted images: LUKS2, and gocryptfs as Apptainer makes it. What finds out keys is in `unlock.ts` and `report.ts`,
 * which a process that serves a mount does not load.
 */

export { type GocryptfsFile, GocryptfsSource } from './gocryptfs/gocryptfs-source.ts'
export type { KdfLimits } from './kdf/limits.ts'
export { DEFAULT_KDF_LIMITS } from './kdf/limits.ts'
export type { KeySource } from './keys/key-source.ts'
export {
  addKey,
  type FilePiece,
  hasKeys,
  heldKey,
  type Unlocked,
  wipeKeys,
} from './keys/keyring.ts'
export { keepSecret, type Secret, secretBytes } from './keys/secret.ts'
export { FORM_TITLES, isEncryptedBehindDamage, keyMissing, lockId } from './lock.ts'
export { type LuksSegment, LuksSource } from './luks/luks-source.ts'
export { isHeaderMagic } from './luks/magic.ts'
