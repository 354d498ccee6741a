import { ignoring, type Name } from '../../../src/base/index.ts'
import { listNames } from '../../../src/sys/files/directory-entries.ts'
import { getxattrFd, removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { NAMES_FORM, type UpperPolicy } from '../../stored/policy.ts'

/** Whiteouts are devices: names that begin with `.wh.` are no marks. */
const PLAIN = 'plain'

/**
 * True where names that begin with `.wh.` are marks in this upper: where the policy needs them for whiteouts, and in an
 * upper that another program may have filled. False in an upper that was empty at its first mount and has devices as
 * whiteouts. Its root notes that, because the next mount could not see it. Names of this kind that programs use are
 * stored in another form (`file-names.ts`).
 * @throws FsError ENOSPC, EROFS
 */
export function hasMarks(rootFd: number, policy: UpperPolicy): boolean {
  if (!policy.xattrs) return true
  const attribute: Name = `${policy.markers}.${NAMES_FORM}`
  const value = getxattrFd(rootFd, attribute)
  const plain = value !== undefined && Buffer.from(value).toString('latin1') === PLAIN
  if (policy.whiteouts === 'wh') {
    // The upper gets marks from now on.
    if (plain) removexattrFd(rootFd, attribute)
    return true
  }
  if (plain) return false
  if (listNames(rootFd).length > 0) return true
  const note = () => setxattrFd(rootFd, attribute, Buffer.from(PLAIN, 'latin1'), 'either')
  return !ignoring(['EPERM', 'EOPNOTSUPP'], note)
}
