import { isErrno } from '../../../src/base/index.ts'
import { listxattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { decodeNumber, hasNumberRecords, NUMBER_RECORD, NUMBERS_MARK } from '../../stored/number-record.ts'
import type { UpperPolicy } from '../../stored/policy.ts'
import type { Attribute } from './copy.ts'
import { ownAttribute, readOwn } from './own-attribute.ts'

/** The attribute that records an inode number. @param mode of the file as the upper has it */
export function inodeRecord(mode: number, ino: number, policy: UpperPolicy): Attribute {
  return [ownAttribute(NUMBER_RECORD, mode, policy.markers), Buffer.from(`${ino}`, 'latin1')]
}

/** @param fd of an upper file, may be O_PATH. @returns undefined where the file has no record */
export function readInode(fd: number, mode: number, policy: UpperPolicy): number | undefined {
  return decodeNumber(readOwn(fd, NUMBER_RECORD, mode, policy.markers))
}

/**
 * Notes at the root of the upper that it has records, for a later mount that uses it as a lower directory.
 * @throws FsError ENOSPC, EROFS
 */
export function markRecords(rootFd: number, policy: UpperPolicy): void {
  if (!policy.xattrs || hasNumberRecords(listxattrFd(rootFd))) return
  try {
    setxattrFd(rootFd, `${policy.markers}.${NUMBERS_MARK}`, Uint8Array.of(0x31), 'either')
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'EOPNOTSUPP')) throw error
  }
}
