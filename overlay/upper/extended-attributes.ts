import { FsError, type Name, type XattrMode } from '../../src/base/index.ts'
import { getxattrFd, listxattrFd, removexattrFd, setxattrFd } from '../../src/sys/fd-xattr.ts'
import { statFd } from '../../src/sys/statx.ts'
import { shownName, storedName } from '../xattr-names.ts'
import { ACCESS_ACL, modeOfAcl } from './acl.ts'
import type { Lifter } from './lift.ts'
import { isDirectoryNode, type Node } from './nodes.ts'
import { presentUpperStat, writeOwner } from './owner-record.ts'
import { layerOf, partOf } from './present.ts'
import type { Upper } from './upper.ts'
import { nameFromUpper, nameInUpper } from './upper-xattrs.ts'

/** Extended attributes of nodes, under the names that users see. */
export class ExtendedAttributes {
  readonly #upper: Upper
  readonly #lifter: Lifter

  constructor(upper: Upper, lifter: Lifter) {
    this.#upper = upper
    this.#lifter = lifter
  }

  /** @returns undefined where there is no such attribute */
  get(node: Node, name: Name): Uint8Array | undefined {
    if (!node.inUpper) {
      const part = partOf(node)
      const stored = storedName(name)
      return stored === undefined ? undefined : layerOf(this.#upper, part).getxattr(part.ref, stored)
    }
    const stored = this.#inUpper(name)
    return stored === undefined ? undefined : this.#upper.files.with(node, (fd) => getxattrFd(fd, stored))
  }

  list(node: Node): readonly Name[] {
    if (!node.inUpper) {
      const part = partOf(node)
      const stored = layerOf(this.#upper, part).listxattr(part.ref)
      return stored.map(shownName).filter((name) => name !== undefined)
    }
    const names: Name[] = []
    for (const stored of this.#upper.files.with(node, listxattrFd)) {
      const meant = nameFromUpper(stored, this.#upper.policy)
      const shown = meant === undefined ? undefined : shownName(meant)
      if (shown !== undefined) names.push(shown)
    }
    return names
  }

  /** @throws FsError EPERM for a name that would be hidden; EEXIST, ENODATA by the mode; ENOSPC, EOPNOTSUPP */
  set(node: Node, name: Name, value: Uint8Array, mode: XattrMode): void {
    const { files, policy } = this.#upper
    const stored = this.#inUpper(name)
    if (stored === undefined) throw new FsError('EPERM', `xattr ${JSON.stringify(name)} is reserved`)
    this.#lifter.lift(node)
    files.with(node, (fd) => {
      if (name === ACCESS_ACL && policy.owners === 'override') this.#setAccessAcl(fd, stored, value)
      else setxattrFd(fd, stored, value, mode)
    })
    if (isDirectoryNode(node)) node.inheritance = undefined
  }

  /** @throws FsError ENODATA */
  remove(node: Node, name: Name): void {
    const stored = this.#inUpper(name)
    // Without the attribute nothing changes, so nothing is copied.
    if (stored === undefined || (!node.inUpper && this.get(node, name) === undefined)) {
      throw new FsError('ENODATA', `xattr ${JSON.stringify(name)}`)
    }
    this.#lifter.lift(node)
    this.#upper.files.with(node, (fd) => removexattrFd(fd, stored))
    if (isDirectoryNode(node)) node.inheritance = undefined
  }

  #inUpper(name: Name): Name | undefined {
    const escaped = storedName(name)
    return escaped === undefined ? undefined : nameInUpper(escaped, this.#upper.policy)
  }

  /** What the kernel does with the list of a real file: the mode follows, and a list that says no more goes. */
  #setAccessAcl(fd: number, stored: Name, value: Uint8Array): void {
    const { policy } = this.#upper
    const before = presentUpperStat(fd, statFd(fd), policy)
    const { mode, plain } = modeOfAcl(value, before.mode)
    writeOwner(fd, { ...before, mode }, policy)
    if (!plain) setxattrFd(fd, stored, value, 'either')
    else if (getxattrFd(fd, stored) !== undefined) removexattrFd(fd, stored)
  }
}
