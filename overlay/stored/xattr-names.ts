import { FsError, type Name, XATTR_NAME_MAX } from '../../src/base/index.ts'
import type { Layer, Ref } from './layer-flags.ts'

/** Stands after a private prefix where a program has set an attribute of that name itself (overlayfs.rst, "Nesting"). */
const ESCAPE = 'overlay.'

/** Names that say something to an overlay. */
interface Family {
  readonly prefix: Name
  /** Of the names with the prefix, by what follows it. */
  readonly has: (rest: Name) => boolean
  /** Whether one that stands in a layer is of the overlay that wrote it, and is not shown. */
  readonly isHidden: boolean
}

const all = () => true
const record = (rest: Name) => /^(overlay\.)*override_/.test(rest)

const FAMILIES: readonly Family[] = [
  // fs/overlayfs/xattrs.c:ovl_is_private_xattr
  { prefix: 'trusted.overlay.', has: all, isHidden: true },
  { prefix: 'user.overlay.', has: all, isHidden: true },
  // fuse-overlayfs, which knows no escape: what stands after the prefix means nothing to it.
  { prefix: 'user.fuseoverlayfs.', has: all, isHidden: true },
  // Owner records, and what is kept beside them: data, unless the root of the directory has one (`recordInUse`).
  { prefix: 'user.containers.', has: record, isHidden: false },
  { prefix: 'security.fuseoverlayfs.', has: record, isHidden: false },
]

function familyOf(name: Name): Family | undefined {
  return FAMILIES.find(({ prefix, has }) => name.startsWith(prefix) && has(name.slice(prefix.length)))
}

/** The name under which a stored attribute is shown, one level of escape taken off; undefined where it is hidden. */
export function shownName(stored: Name): Name | undefined {
  const family = familyOf(stored)
  if (family === undefined) return stored
  const rest = stored.slice(family.prefix.length)
  if (rest.startsWith(ESCAPE)) return family.prefix + rest.slice(ESCAPE.length)
  return family.isHidden ? undefined : stored
}

/** A name that means nothing to any overlay, in place of one that might. It may be longer than a name can be. */
export function escapedName(name: Name): Name {
  const family = familyOf(name)
  return family === undefined ? name : family.prefix + ESCAPE + name.slice(family.prefix.length)
}

/** The name whose escaped form this is; undefined for a name that means something to an overlay. */
export function unescapedName(stored: Name): Name | undefined {
  const family = familyOf(stored)
  if (family === undefined) return stored
  const rest = stored.slice(family.prefix.length)
  return rest.startsWith(ESCAPE) ? family.prefix + rest.slice(ESCAPE.length) : undefined
}

/**
 * The name under which an attribute is stored that a program sets.
 * @throws FsError EOPNOTSUPP where it is longer than an attribute name can be
 */
export function storedName(shown: Name): Name {
  const stored = escapedName(shown)
  if (stored.length <= XATTR_NAME_MAX || stored === shown) return stored
  throw new FsError('EOPNOTSUPP', `xattr ${JSON.stringify(shown)}: escaped name is ${stored.length} bytes`)
}

/** The names under which an attribute may stand that is shown, the first of them that is there counts. */
export function namesOf(shown: Name): readonly [Name, ...Name[]] {
  const stored = storedName(shown)
  return stored !== shown && shownName(shown) === shown ? [stored, shown] : [stored]
}

/** The value of the first of some attributes that a file of a layer has. */
export function firstOf(layer: Layer, ref: Ref, names: readonly Name[]): Uint8Array | undefined {
  for (const name of names) {
    const value = layer.getxattr(ref, name)
    if (value !== undefined) return value
  }
  return undefined
}

/** All names that are shown of those that are stored, each once. */
export function shownNames(stored: readonly Name[]): Name[] {
  const shown = stored.map(shownName).filter((name) => name !== undefined)
  return shown.length < 2 ? shown : [...new Set(shown)]
}
