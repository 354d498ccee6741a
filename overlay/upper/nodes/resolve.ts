import { closeSync, constants } from 'node:fs'
import {
  DT_DIR,
  direntType,
  FsError,
  isDirectory,
  isRegular,
  NAME_MAX,
  type Name,
  unlessFailed,
} from '../../../src/base/index.ts'
import { O_PATH, openAt } from '../../../src/sys/files/at.ts'
import { type HostStat, statAt, statFd } from '../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd, llistxattr } from '../../../src/sys/files/xattr.ts'
import { descriptorPath } from '../../../src/sys/plain/proc.ts'
import { Directory, type Found, numberOf, numberOfPart, type Part } from '../../merge/directory.ts'
import { presentUpperStat } from '../../stored/owner-record.ts'
import { assertWhole, isMetacopy, MARK_PREFIX, statEntry } from '../../stored/whiteout.ts'
import { readInode } from '../disk/inode-record.ts'
import { isMarkedDeleted, isUpperWhiteout, upperOpacity } from '../disk/markers.ts'
import { DirectoryNode, isDirectoryNode, Node } from './nodes.ts'
import { layerOf } from './present.ts'
import { followRedirect, readRedirect } from './redirect.ts'
import type { Upper } from './upper.ts'

/** What the upper has under a name: a file, a whiteout in any form, or nothing. */
export type UpperEntry = HostStat | 'whiteout' | undefined

/** The node of a name. */
export interface Looked {
  readonly node: Node
  /** Its attributes in the upper, as they were read for this look; undefined where the upper lacks the name. */
  readonly host: HostStat | undefined
}

const { O_DIRECTORY } = constants

/** Finds what a name stands for: in the upper first, then in the layers. */
export class Resolver {
  readonly #upper: Upper

  constructor(upper: Upper) {
    this.#upper = upper
  }

  /** @throws FsError EIO where another file system is mounted there; ENAMETOOLONG */
  upperEntry(parent: DirectoryNode, name: Name): UpperEntry {
    if (name.length > NAME_MAX) throw new FsError('ENAMETOOLONG', `name of ${name.length} bytes`)
    const { files, marks } = this.#upper
    if (!parent.inUpper || parent.dead) return undefined
    if (name.startsWith(MARK_PREFIX)) return undefined
    const dir = files.directory(parent)
    const stat = statAt(dir, name)
    if (stat === undefined) return marks && isMarkedDeleted(dir, name) ? 'whiteout' : undefined
    if (stat.dev !== files.dev) {
      throw new FsError('EIO', `upper: ${JSON.stringify(name)} lies on another file system`)
    }
    const opacity = () => (parent.attributeWhiteouts ? 'x' : 'none')
    return isUpperWhiteout(dir, name, stat, opacity) ? 'whiteout' : stat
  }

  /** What the name would stand for if the upper had neither a file nor a whiteout for it. @throws FsError EIO */
  below(parent: DirectoryNode, name: Name): Found | undefined {
    return parent.dead ? undefined : parent.lower?.lookup(name)
  }

  /**
   * The node of a name, perhaps a new one: the caller calls `retain` or `dropIfUnused`.
   * @throws FsError EIO, ENAMETOOLONG
   */
  find(parent: DirectoryNode, name: Name): Node | undefined {
    return this.look(parent, name)?.node
  }

  /** As `find`, with the attributes in the upper. */
  look(parent: DirectoryNode, name: Name): Looked | undefined {
    const entry = this.upperEntry(parent, name)
    if (entry === 'whiteout') return undefined
    if (entry !== undefined) return { node: this.upperNode(parent, name, entry), host: entry }
    const found = this.below(parent, name)
    return found === undefined ? undefined : { node: this.lowerNode(parent, name, found), host: undefined }
  }

  /** @param host result of `upperEntry` */
  upperNode(parent: DirectoryNode, name: Name, host: HostStat): Node {
    const { table, files } = this.#upper
    const known = table.byUpper(host.inode)
    if (known !== undefined) {
      if (isDirectoryNode(known) !== isDirectory(host.mode)) throw changed(name)
      if (isDirectoryNode(known)) {
        if (!table.hasPlace(known, parent, name)) throw changed(name)
        return known
      }
      table.addPlace(known, { parent, name })
      files.attach(known)
      return known
    }
    return isDirectory(host.mode) ? this.#newDirectory(parent, name, host) : this.#newFile(parent, name, host)
  }

  lowerNode(parent: DirectoryNode, name: Name, found: Found): Node {
    if (found.entry.type === DT_DIR) return this.#lowerDirectory(parent, name, found)
    const { table, stack } = this.#upper
    const known = table.below(found.top, parent, name)
    if (known !== undefined) return known
    const layer = layerOf(this.#upper, found.top)
    const stat = statEntry(layer, found.entry)
    if (isRegular(stat.mode)) assertWhole(layer, found.top.ref)
    const ino = numberOf(stack, found)
    const id = stat.nlink > 1 ? table.freshIdOfName(found.top, parent, name) : table.freshId(found.top)
    const node = new Node(id, direntType(stat.mode), ino, found.top)
    table.add(node, { parent, name })
    return node
  }

  #lowerDirectory(parent: DirectoryNode, name: Name, found: Found): Node {
    const { table, stack } = this.#upper
    const known = table.below(found.top, parent, name)
    if (known !== undefined) return known
    const lower = found.merged ?? new Directory(stack, [found.top])
    const layer = layerOf(this.#upper, found.top)
    statEntry(layer, found.entry)
    const node = new DirectoryNode(table.freshId(found.top), numberOf(stack, found), lower)
    table.add(node, { parent, name })
    return node
  }

  #newFile(parent: DirectoryNode, name: Name, host: HostStat): Node {
    const { table, files, policy } = this.#upper
    const dir = files.directory(parent)
    const attributes = llistxattr(`${descriptorPath(dir)}/${name}`)
    const bare = !attributes.some(isOfInterest)
    const made =
      bare && policy.owners === 'real' ? bareNode(this.#upper, host) : this.#newCopy(parent, dir, name, host)
    made.bare = attributes.length === 0
    made.upperIno = host.inode
    table.add(made, { parent, name })
    return made
  }

  /** A file with further attributes: it may be a copy with a record. */
  #newCopy(parent: DirectoryNode, dir: number, name: Name, host: HostStat): Node {
    const { table, policy, inodes } = this.#upper
    const fd = openAt(dir, name, O_PATH)
    try {
      if (statFd(fd).inode !== host.inode) throw changed(name)
      // overlayfs made this copy: its data is still in a layer.
      if (isMetacopy(listxattrFd(fd))) {
        throw new FsError('EIO', `upper: ${JSON.stringify(name)} has overlay.metacopy: its data is not here`)
      }
      const type = direntType(presentUpperStat(fd, host, policy).mode)
      const recorded = readInode(fd, host.mode, policy)
      const original = recorded === undefined ? undefined : this.#originalOf(parent, name, recorded)
      const id = original ? table.freshId(original) : table.freshUpperId(host.inode)
      return new Node(id, type, recorded ?? inodes.ofUpper(host.dev, host.inode), original)
    } finally {
      closeSync(fd)
    }
  }

  /**
   * The file of the layers that a copy hides, if it still has this name. The copy keeps its id, so that handles lead to
   * it.
   */
  #originalOf(parent: DirectoryNode, name: Name, recorded: number): Part | undefined {
    return unlessFailed(() => {
      const found = parent.lower?.lookup(name)
      if (found === undefined || found.entry.type === DT_DIR) return undefined
      if (numberOf(this.#upper.stack, found) !== recorded) return undefined
      return layerOf(this.#upper, found.top).stat(found.top.ref).nlink === 1 ? found.top : undefined
    })
  }

  #newDirectory(parent: DirectoryNode, name: Name, host: HostStat): Node {
    const { table, files, marks, inodes, stack } = this.#upper
    const fd = openAt(files.directory(parent), name, O_PATH | O_DIRECTORY)
    try {
      if (statFd(fd).inode !== host.inode) throw changed(name)
      const opacity = upperOpacity(fd, marks)
      const redirect = readRedirect((attribute) => getxattrFd(fd, attribute))
      const lower = opacity === 'y' ? undefined : this.#lowerOf(parent, name, redirect)
      const ino = lower ? numberOfPart(stack, lower.numbered) : inodes.ofUpper(host.dev, host.inode)
      const id = lower ? table.freshId(lower.top) : table.freshUpperId(host.inode)
      const node = new DirectoryNode(id, ino, lower)
      node.upperIno = host.inode
      node.redirect = redirect
      node.opaque = opacity === 'y'
      node.attributeWhiteouts = opacity === 'x'
      table.add(node, { parent, name })
      files.keepDirectory(node, fd)
      return node
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  /** The lower part of an upper directory. @throws FsError EIO */
  #lowerOf(parent: DirectoryNode, name: Name, redirect: Name | undefined): Directory | undefined {
    const { stack, table, marks, files } = this.#upper
    if (redirect !== undefined) return followRedirect(stack, table.root.lower, parent.lower, redirect)
    if (parent.lower === undefined) return undefined
    // A mark hides what the layers have, also where the upper has a new directory of the name.
    if (marks && isMarkedDeleted(files.directory(parent), name)) return undefined
    const found = parent.lower.lookup(name)
    if (found === undefined || found.entry.type !== DT_DIR) return undefined
    return found.merged ?? new Directory(stack, [found.top])
  }
}

function bareNode({ table, inodes }: Upper, host: HostStat): Node {
  const ino = inodes.ofUpper(host.dev, host.inode)
  return new Node(table.freshUpperId(host.inode), direntType(host.mode), ino, undefined)
}

/** All other attributes, such as labels of security modules, do not change how a file is shown. */
function isOfInterest(name: Name): boolean {
  return name.startsWith('user.') || name.startsWith('trusted.')
}

function changed(name: Name): FsError {
  return new FsError('ESTALE', `upper: ${JSON.stringify(name)} was changed outside of this mount`)
}
