import { ignoring, type Name } from '../../../src/base/index.ts'
import { listNames } from '../../../src/sys/files/directory-entries.ts'
import { getxattrFd, removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { NAMES_FORM, type UpperPolicy } from '../../stored/policy.ts'

/** Deletions are devices: names that begin with `.wh.` are no marks. */
const PLAIN = 'plain'

/**
 * Whether names that begin with `.wh.` are marks in this upper. They are where deletions need them, and in an upper
 * that somebody else made, who may have needed them. In one that was empty when it was mounted first, with devices for
 * deletions, there are none, and nobody needs to look for them; its root says so from then on, because the next mount
 * could not tell. A program's own names of this kind never stand there as they are (`file-names.ts`).
 * @throws FsError ENOSPC, EROFS
 */
export function hasMarks(rootFd: number, policy: UpperPolicy): boolean {
  if (!policy.xattrs) return true
  const attribute: Name = `${policy.markers}.${NAMES_FORM}`
  const value = getxattrFd(rootFd, attribute)
  const plain = value !== undefined && Buffer.from(value).toString('latin1') === PLAIN
  if (policy.whiteouts === 'wh') {
    // From now on there will be marks.
    if (plain) removexattrFd(rootFd, attribute)
    return true
  }
  if (plain) return false
  if (listNames(rootFd).length > 0) return true
  const note = () => setxattrFd(rootFd, attribute, Buffer.from(PLAIN, 'latin1'), 'either')
  return !ignoring(['EPERM', 'EOPNOTSUPP'], note)
}
