import { changing, FsError, type Name, type XattrMode } from '../../../src/base/index.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd, removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { ACCESS_ACL, DEFAULT_ACL, modeOfAcl } from '../../stored/acl.ts'
import { presentUpperStat, writeOwner } from '../../stored/owner-record.ts'
import { nameFromUpper, nameInUpper } from '../../stored/upper-xattrs.ts'
import { firstOf, namesOf, shownNames } from '../../stored/xattr-names.ts'
import { isDirectoryNode, type Node } from '../nodes/nodes.ts'
import { attributedPart, layerOf } from '../nodes/present.ts'
import type { Upper } from '../nodes/upper.ts'
import type { CopyUp } from './copy-up.ts'

/** Extended attributes of nodes, under the names that users use. */
export class ExtendedAttributes {
  readonly #upper: Upper
  readonly #copyUp: CopyUp

  constructor(upper: Upper, copyUp: CopyUp) {
    this.#upper = upper
    this.#copyUp = copyUp
  }

  /** @returns undefined where the node lacks the attribute */
  get(node: Node, name: Name): Uint8Array | undefined {
    if (!node.inUpper) {
      const part = attributedPart(node)
      return firstOf(layerOf(this.#upper, part), part.ref, namesOf(name))
    }
    if (node.bare && isNeverInherited(name)) return undefined
    return this.#upper.files.with(node, (fd) => {
      const stored = this.#inUpper(fd, namesOf(name))
      return stored === undefined ? undefined : getxattrFd(fd, stored)
    })
  }

  list(node: Node): readonly Name[] {
    if (!node.inUpper) {
      const part = attributedPart(node)
      return shownNames(layerOf(this.#upper, part).listxattr(part.ref))
    }
    const names = this.#upper.files.with(node, listxattrFd)
    const meant = names.map((stored) => nameFromUpper(stored, this.#upper.policy))
    return shownNames(meant.filter((name) => name !== undefined))
  }

  /** @throws FsError EPERM for a reserved name; EEXIST, ENODATA by the mode; ENOSPC, EOPNOTSUPP */
  set(node: Node, name: Name, value: Uint8Array, mode: XattrMode): void {
    const { files, policy } = this.#upper
    const names = namesOf(name)
    if (!node.inUpper) this.#assertMode(node, name, mode)
    this.#copyUp.ensure(node)
    const set = (fd: number) => {
      const stored = this.#inUpper(fd, names)
      if (stored === undefined) throw new FsError('EPERM', `xattr ${JSON.stringify(name)} is reserved`)
      if (name === ACCESS_ACL && policy.owners === 'override') this.#setAccessAcl(fd, stored, value)
      else setxattrFd(fd, stored, value, mode)
    }
    node.bare = false
    changing(() => files.with(node, set))
    if (isDirectoryNode(node)) node.inheritance = undefined
  }

  /**
   * Refuses what the mode forbids before the node is copied up: nothing changes then.
   * @throws FsError EEXIST, ENODATA
   */
  #assertMode(node: Node, name: Name, mode: XattrMode): void {
    if (mode === 'either' || name === ACCESS_ACL || name === DEFAULT_ACL) return
    // A reserved name is EPERM, whatever the mode.
    if (this.#storedNames(namesOf(name)).length === 0) return
    const isPresent = this.get(node, name) !== undefined
    if (isPresent === (mode === 'replace')) return
    throw new FsError(isPresent ? 'EEXIST' : 'ENODATA', `xattr ${JSON.stringify(name)}`)
  }

  /**
   * Removing an access or default ACL that does not exist succeeds (fs/posix_acl.c:vfs_remove_acl).
   * @throws FsError ENODATA
   */
  remove(node: Node, name: Name): void {
    const isList = name === ACCESS_ACL || name === DEFAULT_ACL
    if (isList && this.get(node, name) === undefined) return
    const absent = new FsError('ENODATA', `xattr ${JSON.stringify(name)}`)
    // Without the attribute nothing changes, so the node is not copied up.
    if (!node.inUpper && this.get(node, name) === undefined) throw absent
    this.#copyUp.ensure(node)
    const remove = (fd: number) => {
      const stored = this.#inUpper(fd, namesOf(name))
      if (stored === undefined) throw absent
      removexattrFd(fd, stored)
    }
    changing(() => this.#upper.files.with(node, remove))
    if (isDirectoryNode(node)) node.inheritance = undefined
  }

  /** The names under which an attribute may be stored; none for a reserved one. */
  #storedNames(names: readonly Name[]): readonly Name[] {
    return names.map((name) => nameInUpper(name, this.#upper.policy)).filter((name) => name !== undefined)
  }

  /** The name under which a file of the upper has an attribute, or will have it; undefined where it cannot have it. */
  #inUpper(fd: number, names: readonly Name[]): Name | undefined {
    const stored = this.#storedNames(names)
    return stored.length < 2
      ? stored[0]
      : (stored.find((name) => getxattrFd(fd, name) !== undefined) ?? stored[0])
  }

  /**
   * Does what the kernel does with an access ACL of a real file: sets the mode, and drops an ACL that says no more than
   * it.
   */
  #setAccessAcl(fd: number, stored: Name, value: Uint8Array): void {
    const { policy } = this.#upper
    const before = presentUpperStat(fd, statFd(fd), policy)
    const { mode, plain } = modeOfAcl(value, before.mode)
    writeOwner(fd, { ...before, mode }, policy)
    if (!plain) setxattrFd(fd, stored, value, 'either')
    else if (getxattrFd(fd, stored) !== undefined) removexattrFd(fd, stored)
  }
}

/**
 * True for an attribute that no new file has, unless its directory has a default ACL. Security modules and file systems
 * give others.
 */
function isNeverInherited(name: Name): boolean {
  if (name === 'security.capability' || name === ACCESS_ACL || name === DEFAULT_ACL) return true
  return name.startsWith('user.') || name.startsWith('trusted.')
}
