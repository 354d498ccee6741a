import { FsError, type Name, XATTR_NAME_MAX } from '../../src/base/index.ts'
import type { UpperPolicy } from './policy.ts'

/**
 * Where owners are written down instead of set, attributes that only root may set are stored under this prefix, too,
 * as fuse-overlayfs does for `security.`. Access lists are among them: a real one would change the mode of the real
 * file, and give rights on the host to a user whose id there is one of the ids inside.
 */
const OVERRIDE_PREFIX = 'user.containers.override_'

/** All that matters here of a policy. */
export type OwnerPolicy = Pick<UpperPolicy, 'owners' | 'ownerRecord'>

const PLAIN_PREFIX = 'user.'

/**
 * The name under which an upper stores an attribute (already escaped, see `xattr-names.ts`); undefined where there can
 * be none of this name. @throws FsError EOPNOTSUPP where the stored name is too long
 */
export function nameInUpper(name: Name, policy: OwnerPolicy): Name | undefined {
  if (policy.owners === 'real') return name
  if (name === policy.ownerRecord || name.startsWith(OVERRIDE_PREFIX)) return undefined
  if (name.startsWith(PLAIN_PREFIX)) return name
  const stored = OVERRIDE_PREFIX + name
  if (stored.length > XATTR_NAME_MAX) {
    throw new FsError('EOPNOTSUPP', `xattr ${JSON.stringify(name)}: stored name is ${stored.length} bytes`)
  }
  return stored
}

/** The reverse of `nameInUpper`; undefined for what is not an attribute of the file that is shown. */
export function nameFromUpper(stored: Name, policy: OwnerPolicy): Name | undefined {
  if (policy.owners === 'real') return stored
  if (stored === policy.ownerRecord) return undefined
  if (stored.startsWith(OVERRIDE_PREFIX)) {
    const name = stored.slice(OVERRIDE_PREFIX.length)
    // Names without a namespace are records of this kind, not attributes.
    return name.includes('.') && !name.startsWith(PLAIN_PREFIX) ? name : undefined
  }
  // The rest of what the real file has, such as a label, is not what is meant.
  return stored.startsWith(PLAIN_PREFIX) ? stored : undefined
}
