import type { Name } from '../../../src/base/index.ts'
import type { UpperPolicy } from '../../stored/policy.ts'
import type { Attribute } from './copy.ts'
import { ownAttribute, readOwn } from './own-attribute.ts'

/** The number that a copy is shown with: that of its original, in decimal. */
const RECORD: Name = 'overlay.atomfs.ino'

/** @param mode of the file as the upper has it */
export function inodeRecord(mode: number, ino: number, policy: UpperPolicy): Attribute {
  return [ownAttribute(RECORD, mode, policy.markers), Buffer.from(`${ino}`, 'latin1')]
}

/** @param fd of an upper file, may be O_PATH. @returns undefined where it is no copy */
export function readInode(fd: number, mode: number, policy: UpperPolicy): number | undefined {
  const ino = Number(readOwn(fd, RECORD, mode, policy.markers))
  return Number.isSafeInteger(ino) && ino > 0 ? ino : undefined
}
