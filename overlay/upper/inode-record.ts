import type { Name } from '../../src/base/index.ts'
import type { Attribute } from './copy-up.ts'
import { ownAttribute, readOwn } from './own-attribute.ts'
import type { UpperPolicy } from './upper-policy.ts'

/** Inode numbers of what was made in the upper begin here, above those of all layers. */
const UPPER_INODES = 2 ** 52

/** The number that a copy is shown with: that of its original, in decimal. */
const RECORD: Name = 'overlay.atomfs.ino'

/** The number that something made in the upper is shown with. Beyond 2^52 host numbers wrap around. */
export function hostInode(ino: number): number {
  return UPPER_INODES + (ino % UPPER_INODES)
}

/** @param mode of the file as the upper has it */
export function inodeRecord(mode: number, ino: number, policy: UpperPolicy): Attribute {
  return [ownAttribute(RECORD, mode, policy.markers), Buffer.from(`${ino}`, 'latin1')]
}

/** @param fd of an upper file, may be O_PATH. @returns undefined where it is no copy */
export function readInode(fd: number, mode: number, policy: UpperPolicy): number | undefined {
  const ino = Number(readOwn(fd, RECORD, mode, policy.markers))
  return Number.isSafeInteger(ino) && ino > 0 ? ino : undefined
}
