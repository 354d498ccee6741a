import { isRegular, type Name } from '../../../src/base/index.ts'
import { getxattrFd } from '../../../src/sys/files/xattr.ts'
import type { UpperPolicy } from '../../stored/policy.ts'

type Markers = UpperPolicy['markers']

/**
 * The name of a record of this program on an inode of the upper. It lies in the namespace of the markers, which an
 * overlay of that kind hides from its users and packers leave out. Only regular files and directories have `user.`
 * attributes (xattr(7)).
 * @param mode of the file as the upper has it
 */
export function ownAttribute(record: Name, mode: number, markers: Markers): Name {
  return `${isRegular(mode) ? markers : 'trusted'}.${record}`
}

/** The value of a record, also where markers of the other kind wrote it. @param fd may be O_PATH */
export function readOwn(fd: number, record: Name, mode: number, markers: Markers): string | undefined {
  const other: Markers = markers === 'user' ? 'trusted' : 'user'
  const value =
    getxattrFd(fd, ownAttribute(record, mode, markers)) ??
    (isRegular(mode) ? getxattrFd(fd, ownAttribute(record, mode, other)) : undefined)
  return value && Buffer.from(value).toString('latin1')
}
