import { escapedFileName, escapedName } from '../../overlay/escapes.ts'
import type { Attribute } from '../../squashfs/write/index.ts'
import { NAME_MAX, type Name, XATTR_NAME_MAX } from '../base/index.ts'

/**
 * Names and attributes in a layer that an overlay will read: what is data, and looks like a mark to an overlay, gets the
 * escape that a mount takes off again (docs/adr/0020-marks-and-names.md).
 */

/** @throws nothing: a name that the escape makes too long stays as it is */
export function escapedPath(path: Name): Name {
  if (!path.includes('.wh.')) return path
  return path
    .split('/')
    .map((name) => {
      const escaped = escapedFileName(name)
      return escaped.length > NAME_MAX ? name : escaped
    })
    .join('/')
}

/** @returns undefined where the escape makes the name longer than one can be */
export function escapedAttribute([name, value]: Attribute): Attribute | undefined {
  const escaped = escapedName(name)
  return escaped.length > XATTR_NAME_MAX ? undefined : [escaped, value]
}
