import { FsError, type Name } from '../src/base/index.ts'

/** Attributes of overlayfs itself: never shown (fs/overlayfs/xattrs.c:ovl_is_private_xattr). */
const OWN_PREFIXES: readonly Name[] = ['trusted.overlay.', 'user.overlay.']
/** Attributes of fuse-overlayfs: never shown, and it knows no escape for them. */
const FOREIGN_PREFIX = 'user.fuseoverlayfs.'
/** Stands after an own prefix where an overlay inside the layer has stored an attribute of its own. */
const ESCAPE = 'overlay.'
/** XATTR_NAME_MAX (include/uapi/linux/limits.h). */
const NAME_MAX = 255

/**
 * The name under which a stored attribute is shown, one level of escape taken off; undefined where it is hidden
 * (overlayfs.rst, "Nesting overlayfs mounts").
 */
export function shownName(stored: Name): Name | undefined {
  if (stored.startsWith(FOREIGN_PREFIX)) return undefined
  for (const prefix of OWN_PREFIXES) {
    if (!stored.startsWith(prefix)) continue
    const rest = stored.slice(prefix.length)
    return rest.startsWith(ESCAPE) ? prefix + rest.slice(ESCAPE.length) : undefined
  }
  return stored
}

/**
 * The name under which an attribute that is asked for would be stored; undefined where there can be none.
 * @throws FsError EOPNOTSUPP where the escaped name is longer than an attribute name can be
 */
export function storedName(shown: Name): Name | undefined {
  if (shown.startsWith(FOREIGN_PREFIX)) return undefined
  for (const prefix of OWN_PREFIXES) {
    if (!shown.startsWith(prefix)) continue
    const stored = prefix + ESCAPE + shown.slice(prefix.length)
    if (stored.length > NAME_MAX) {
      throw new FsError(
        'EOPNOTSUPP',
        `xattr ${JSON.stringify(shown)}: escaped name is ${stored.length} bytes`,
      )
    }
    return stored
  }
  return shown
}
