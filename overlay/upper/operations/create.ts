import { closeSync, constants } from 'node:fs'
import {
  type Caller,
  changing,
  direntType,
  FsError,
  isDirectory,
  isErrno,
  isRegular,
  isSymlink,
  NAME_MAX,
  type Name,
  PERMISSIONS,
  S_IFCHR,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  type Stat,
} from '../../../src/base/index.ts'
import {
  linkAt,
  linkFd,
  mkdirAt,
  mknodAt,
  openAt,
  openUnnamed,
  renameAt,
  symlinkAt,
} from '../../../src/sys/files/at.ts'
import { type HostStat, statAt, statFd } from '../../../src/sys/files/statx.ts'
import { getxattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { ACCESS_ACL, DEFAULT_ACL, inheritAcl } from '../../stored/acl.ts'
import { withStoredIds } from '../../stored/owner.ts'
import { writeOwner } from '../../stored/owner-record.ts'
import { nameInUpper } from '../../stored/upper-xattrs.ts'
import { makeObject } from '../disk/make-object.ts'
import { removeWhiteout, setOpaque } from '../disk/markers.ts'
import { exchangeNames, moveToNew } from '../disk/moves.ts'
import { INODE_COST } from '../disk/space.ts'
import { DirectoryNode, type Inheritance, isDirectoryNode, Node } from '../nodes/nodes.ts'
import { layerOf, shownStat } from '../nodes/present.ts'
import type { Resolver } from '../nodes/resolve.ts'
import type { Upper } from '../nodes/upper.ts'
import type { CopyUp } from './copy-up.ts'

const { O_CREAT, O_EXCL, O_RDWR } = constants

/** A file to be made. */
export interface NewFile {
  /** Type and permission bits that the caller asked for. */
  readonly mode: number
  /** As the kernel encodes it in 32 bits; 0 unless a device. */
  readonly rdev: number
  /** Target of a symbolic link. */
  readonly target?: Uint8Array
}

/** A node without references, and its attributes in the upper. */
export interface Created {
  readonly node: Node
  readonly host: HostStat
}

/** A new file, with everything that it takes over from its directory and from the caller. */
interface Made extends NewFile {
  readonly uid: number
  readonly gid: number
  readonly access: Uint8Array | undefined
  readonly defaultAcl: Uint8Array | undefined
}

/** Makes new files, and new names of files. */
export class Creator {
  readonly #upper: Upper
  readonly #resolver: Resolver
  readonly #copyUp: CopyUp
  /** Owner that the host gives to new files: they need no chown(2). */
  readonly #own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }

  constructor(upper: Upper, resolver: Resolver, copyUp: CopyUp) {
    this.#upper = upper
    this.#resolver = resolver
    this.#copyUp = copyUp
  }

  /** @throws FsError EEXIST, ENOENT, EPERM, ENOSPC, … */
  create(parent: DirectoryNode, name: Name, what: NewFile, asked: Caller): Created {
    if ((what.mode & S_IFMT) === S_IFCHR && what.rdev === 0) {
      throw new FsError('EPERM', 'device 0:0 is a whiteout')
    }
    const caller = withStoredIds(this.#upper.owner, asked)
    if (this.#isProbablyFree(parent, name)) {
      try {
        return this.#make(parent, name, what, caller, false, false)
      } catch (error) {
        if (!isErrno(error, 'EEXIST')) throw error
      }
    }
    const covered = this.#assertFree(parent, name)
    const opaque = covered && isDirectory(what.mode) && this.#resolver.below(parent, name) !== undefined
    return this.#make(parent, name, what, caller, covered, opaque)
  }

  /** True where making the file tells whether the name is free: no call has to look before. @throws FsError EIO */
  #isProbablyFree(parent: DirectoryNode, name: Name): boolean {
    // A mark is a file of another name.
    if (this.#upper.marks || parent.dead || name.length > NAME_MAX) return false
    return this.#resolver.below(parent, name) === undefined
  }

  /** @throws FsError EEXIST where `covered` is false and the upper has the name, perhaps as a whiteout */
  #make(
    parent: DirectoryNode,
    name: Name,
    what: NewFile,
    caller: Caller,
    covered: boolean,
    opaque: boolean,
  ): Created {
    const dir = this.#copyUp.directory(parent)
    const inheritance = this.#inheritance(parent)
    this.#upper.space?.take(INODE_COST + (what.target?.length ?? 0))
    return changing(() => {
      let fd: number | undefined
      if (!covered && this.#isOwn(caller, inheritance)) {
        fd = this.#makeInPlace(dir, name, what, caller, inheritance)
      } else {
        fd = this.#makeAside(dir, name, complete(what, caller, inheritance), covered, opaque)
      }
      parent.touch(name)
      const created = this.#adopt(parent, name, dir, what, fd, opaque)
      created.node.bare = inheritance.defaultAcl === undefined
      return created
    })
  }

  /** Makes a file without a name. @returns the node, without references. @throws FsError EOPNOTSUPP */
  createUnnamed(parent: DirectoryNode, mode: number, caller: Caller): Node {
    const { table, files, work, inodes } = this.#upper
    if (parent.dead) throw removed()
    const inheritance = parent.inUpper ? this.#inheritance(parent) : this.#inheritanceBelow(parent)
    const made = complete(
      { mode: S_IFREG | (mode & PERMISSIONS), rdev: 0 },
      withStoredIds(this.#upper.owner, caller),
      inheritance,
    )
    this.#upper.space?.take(INODE_COST)
    return changing(() => {
      const fd = openUnnamed(work.fd, 0o600)
      try {
        this.#furnish(fd, made)
        const host = statFd(fd)
        const ino = inodes.ofUpper(host.dev, host.inode)
        const node = new Node(table.freshUpperId(host.inode), direntType(S_IFREG), ino, undefined)
        node.upperIno = host.inode
        files.holdData(node, fd)
        node.unnamed = true
        node.bare = inheritance.defaultAcl === undefined
        table.add(node, undefined)
        return node
      } catch (error) {
        closeSync(fd)
        throw error
      }
    })
  }

  /**
   * Gives a file one more name.
   * @throws FsError EPERM for a directory; ENOENT for a file whose names are all removed; EMLINK
   */
  link(node: Node, parent: DirectoryNode, name: Name): void {
    const { table, files, work } = this.#upper
    if (isDirectoryNode(node)) throw new FsError('EPERM', 'link: the node is a directory')
    const covered = this.#assertFree(parent, name)
    if (!node.unnamed && shownStat(this.#upper, node).nlink === 0) {
      throw new FsError('ENOENT', 'link: the file was removed')
    }
    this.#copyUp.ensure(node)
    const dir = this.#copyUp.directory(parent)
    changing(() => {
      if (covered) {
        const temporary = work.temporaryName()
        this.#linkTo(node, work.fd, temporary)
        this.#putInPlace(temporary, dir, name, false)
      } else this.#linkTo(node, dir, name)
      table.addPlace(node, { parent, name })
      files.attach(node)
      node.unnamed = false
      parent.touch(name)
    })
  }

  #linkTo(node: Node, dir: number, name: Name): void {
    if (node.descriptor >= 0) {
      linkFd(node.descriptor, dir, name)
      return
    }
    const from = this.#upper.files.locate(node)
    linkAt(from.dir, from.name, dir, name)
  }

  /** @returns true where a whiteout has the name. @throws FsError EEXIST, ENOENT */
  #assertFree(parent: DirectoryNode, name: Name): boolean {
    const entry = this.#resolver.upperEntry(parent, name)
    if (parent.dead) throw removed()
    if (entry === 'whiteout') return true
    if (entry !== undefined || this.#resolver.below(parent, name) !== undefined) {
      throw new FsError('EEXIST', `${JSON.stringify(name)} exists`)
    }
    return false
  }

  /** True where the host gives the new file its right owner. */
  #isOwn(caller: Caller, { gid }: Inheritance): boolean {
    if (this.#upper.policy.owners !== 'real' || caller.uid !== this.#own.uid) return false
    return gid !== undefined || caller.gid === this.#own.gid
  }

  /** Makes a file at its place. The host applies setgid and default ACLs. @returns a descriptor of a regular file */
  #makeInPlace(
    dir: number,
    name: Name,
    { mode, rdev, target }: NewFile,
    caller: Caller,
    { defaultAcl }: Inheritance,
  ): number | undefined {
    const permissions = mode & PERMISSIONS & ~(defaultAcl === undefined ? caller.umask : 0)
    if (isRegular(mode)) return openAt(dir, name, O_CREAT | O_EXCL | O_RDWR, permissions)
    if (isDirectory(mode)) mkdirAt(dir, name, permissions)
    else if (isSymlink(mode)) symlinkAt(target ?? new Uint8Array(0), dir, name)
    else mknodAt(dir, name, (mode & S_IFMT) | permissions, rdev)
    return undefined
  }

  /**
   * Makes a file in the work directory and renames it when it is complete, so that no user sees it without its owner.
   */
  #makeAside(dir: number, name: Name, made: Made, covered: boolean, opaque: boolean): number | undefined {
    const { work, policy } = this.#upper
    const temporary = work.temporaryName()
    const fd = makeObject(work.fd, temporary, made, policy)
    const keep = isRegular(made.mode)
    try {
      this.#furnish(fd, made)
      if (opaque) setOpaque(fd, policy)
      if (covered) this.#putInPlace(temporary, dir, name, isDirectory(made.mode))
      else moveToNew(work.fd, temporary, dir, name)
    } catch (error) {
      closeSync(fd)
      work.discard(temporary)
      throw error
    }
    if (keep) return fd
    closeSync(fd)
    return undefined
  }

  /** Renames the finished object over a whiteout. */
  #putInPlace(temporary: Name, dir: number, name: Name, directory: boolean): void {
    const { work, marks } = this.#upper
    const device = statAt(dir, name) !== undefined
    // rename(2) does not replace a device by a directory.
    if (device && directory) {
      exchangeNames(work.fd, temporary, dir, name, work)
      work.discard(temporary)
    } else renameAt(work.fd, temporary, dir, name, 0)
    if (marks) removeWhiteout(dir, name)
  }

  #furnish(fd: number, made: Made): void {
    const { policy } = this.#upper
    writeOwner(fd, made, policy)
    const lists = [
      [ACCESS_ACL, made.access],
      [DEFAULT_ACL, made.defaultAcl],
    ] as const
    for (const [name, value] of lists) {
      const stored = value && nameInUpper(name, policy)
      if (value && stored) setxattrFd(fd, stored, value, 'either')
    }
  }

  #adopt(
    parent: DirectoryNode,
    name: Name,
    dir: number,
    what: NewFile,
    fd: number | undefined,
    opaque: boolean,
  ): Created {
    const { table, files, inodes, times } = this.#upper
    const host = fd === undefined ? statAt(dir, name) : statFd(fd)
    if (host === undefined)
      throw new FsError('ESTALE', `${JSON.stringify(name)} was removed outside of this mount`)
    const [id, ino] = [table.freshUpperId(host.inode), inodes.ofUpper(host.dev, host.inode)]
    const node = isDirectory(what.mode)
      ? new DirectoryNode(id, ino, undefined)
      : new Node(id, direntType(what.mode), ino, undefined)
    node.upperIno = host.inode
    if (isDirectoryNode(node)) node.opaque = opaque
    table.add(node, { parent, name })
    if (fd !== undefined) files.keepData(node, fd)
    times.saw(node, host)
    return { node, host }
  }

  /** What new files take over from a directory in the upper; kept until its attributes change. */
  #inheritance(parent: DirectoryNode): Inheritance {
    if (parent.inheritance !== undefined) return parent.inheritance
    const { files, policy } = this.#upper
    const stat = shownStat(this.#upper, parent)
    const stored = nameInUpper(DEFAULT_ACL, policy)
    const defaultAcl = stored && files.with(parent, (fd) => getxattrFd(fd, stored))
    parent.inheritance = {
      gid: this.#inheritedGroup(stat),
      defaultAcl: defaultAcl || undefined,
    }
    return parent.inheritance
  }

  /**
   * The same for a directory that is only in the layers. A file without a name does not change its directory, so the
   * directory is not copied up.
   */
  #inheritanceBelow(parent: DirectoryNode): Inheritance {
    const stat = shownStat(this.#upper, parent)
    const part = parent.lower?.attributed
    const defaultAcl = part && layerOf(this.#upper, part).getxattr(part.ref, DEFAULT_ACL)
    return { gid: this.#inheritedGroup(stat), defaultAcl }
  }

  /** Group as stored, before any mapping. */
  #inheritedGroup({ mode, gid }: Stat): number | undefined {
    return (mode & S_ISGID) === 0 ? undefined : withStoredIds(this.#upper.owner, { gid }).gid
  }
}

function removed(): FsError {
  return new FsError('ENOENT', 'the directory was removed')
}

/** Owner and permissions of a new file (fs/inode.c:inode_init_owner, fs/posix_acl.c:posix_acl_create). */
function complete(what: NewFile, caller: Caller, { gid, defaultAcl }: Inheritance): Made {
  const directory = isDirectory(what.mode)
  const owner = { uid: caller.uid, gid: gid ?? caller.gid }
  const base = { ...what, ...owner, access: undefined, defaultAcl: undefined }
  if (isSymlink(what.mode)) return { ...base, mode: (what.mode & S_IFMT) | 0o777 }
  const setgid = directory && gid !== undefined ? S_ISGID : 0
  if (defaultAcl === undefined) return { ...base, mode: (what.mode & ~caller.umask) | setgid }
  const { mode, access } = inheritAcl(defaultAcl, what.mode)
  return { ...base, mode: mode | setgid, access, defaultAcl: directory ? defaultAcl : undefined }
}
