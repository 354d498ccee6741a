import type {
  DirectoryCursor,
  InodeSource,
  Layer,
  LayerEntry,
  Ref,
} from '../../../overlay/stored/layer-flags.ts'
import {
  ALL_MARKS,
  type AttributeKinds,
  direntType,
  type ExtentSink,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type LayerMarks,
  type Name,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  type Stat,
  type StatFs,
  type Whence,
} from '../../../src/base/index.ts'

interface MemoryNode {
  readonly mode: number
  readonly uid: number
  readonly rdev: number
  readonly content: Buffer
  readonly xattrs: Map<Name, Buffer>
  readonly children: Map<Name, Ref>
  nlink: number
  damaged: boolean
}

export interface NodeSpec {
  readonly mode: number
  readonly content?: string | Buffer
  readonly uid?: number
  readonly rdev?: number
  readonly xattrs?: Readonly<Record<Name, string | Buffer>>
}

const TYPES: Readonly<Record<string, number>> = { c: S_IFCHR, b: S_IFBLK, p: S_IFIFO }

/** A layer in memory that counts what is asked of it. Without `unsorted`, listings are in byte order. */
export class MemoryLayer implements Layer {
  marks: LayerMarks = ALL_MARKS
  readonly label: string
  readonly root: Ref = 0
  refSpan = 1_000_000
  sorted?: false
  inodes: InodeSource = { count: 1_000_000 }
  attributes: AttributeKinds = 'all'
  followsRedirects?: boolean
  readonly calls = { next: 0, lookup: 0, stat: 0, listxattr: 0, openDirectory: 0, openDirectoryAt: 0 }
  readonly #nodes: MemoryNode[] = []
  readonly #sorted = new Map<Ref, Name[]>()
  readonly #unsorted: boolean
  /** Entries whose type is stored wrongly, by name. */
  readonly wrongTypes = new Map<Name, number>()
  /** Names at which a cursor fails. */
  readonly brokenNames = new Set<Name>()

  constructor(label: string, options: { readonly unsorted?: boolean; readonly root?: NodeSpec } = {}) {
    this.label = label
    this.#unsorted = options.unsorted ?? false
    this.#create(options.root ?? { mode: S_IFDIR | 0o755 })
  }

  /** Adds a node below a directory and gives its ref. */
  add(parent: Ref, name: Name, spec: NodeSpec): Ref {
    const ref = this.#create(spec)
    this.link(parent, name, ref)
    return ref
  }

  link(parent: Ref, name: Name, ref: Ref): void {
    this.#node(parent).children.set(name, ref)
    if (isRegular(this.#node(ref).mode)) this.#node(ref).nlink += 1
    if (isDirectory(this.#node(ref).mode)) this.#node(parent).nlink += 1
    this.#sorted.delete(parent)
  }

  setXattr(ref: Ref, name: Name, value: string | Buffer): void {
    this.#node(ref).xattrs.set(name, Buffer.from(value as string, 'latin1'))
  }

  damage(path: string): void {
    this.#node(this.at(path)).damaged = true
  }

  /** Ref of a path that exists. */
  at(path: string): Ref {
    let ref = this.root
    for (const name of path.split('/').filter((part) => part !== '')) {
      const child = this.#node(ref).children.get(name)
      if (child === undefined) throw new Error(`no ${path} in ${this.label}`)
      ref = child
    }
    return ref
  }

  stat(ref: Ref): Stat {
    this.calls.stat += 1
    const node = this.#node(ref)
    if (node.damaged) throw new FsError('EIO', `layer ${this.label}: inode ${ref} is damaged`)
    return {
      ino: ref + 1,
      mode: node.mode,
      nlink: node.nlink,
      uid: node.uid,
      gid: node.uid + 1,
      rdev: node.rdev,
      size: node.content.length,
      blocks: Math.ceil(node.content.length / 512),
      blksize: 4096,
      atime: 1,
      mtime: 1000 + ref,
      ctime: 3,
      atimeNsec: 0,
      mtimeNsec: 0,
      ctimeNsec: 0,
    }
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    this.calls.lookup += 1
    const ref = this.#directory(directory).children.get(name)
    return ref === undefined ? undefined : this.#entry(name, ref)
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    this.calls.openDirectory += 1
    return this.#cursor(directory, position)
  }

  openDirectoryAt(directory: Ref, name: Name): DirectoryCursor {
    this.calls.openDirectoryAt += 1
    const at = this.#names(directory).findIndex((other) => other >= name)
    return this.#cursor(directory, at < 0 ? this.#names(directory).length : at)
  }

  readlink(ref: Ref): Uint8Array {
    if (!isSymlink(this.#node(ref).mode)) throw new FsError('EINVAL', `inode ${ref} is no link`)
    return this.#node(ref).content
  }

  listxattr(ref: Ref): readonly Name[] {
    this.calls.listxattr += 1
    return [...this.#node(ref).xattrs.keys()]
  }

  getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    return this.#node(ref).xattrs.get(name)
  }

  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    const node = this.#node(ref)
    if (isDirectory(node.mode)) throw new FsError('EISDIR', `inode ${ref}`)
    const clipped = Math.min(length, node.content.length - offset)
    const block = { source: 0, position: ref, storedSize: 1, kindBits: 0, maxSize: node.content.length }
    if (clipped > 0) sink.block(block, offset, clipped)
  }

  seek(ref: Ref, offset: number, whence: Whence): number {
    const { length } = this.#node(ref).content
    if (offset >= length) throw new FsError('ENXIO', `inode ${ref}`)
    return whence === 'data' ? offset : length
  }

  /** The layer is the same whenever it is made. */
  generation(): number {
    return 7
  }

  statfs(): StatFs {
    const blocks = 10
    const files = this.#nodes.length
    return { blockSize: 1024, blocks, blocksFree: 1, blocksAvailable: 1, files, filesFree: 1, nameMax: 255 }
  }

  #create(spec: NodeSpec): Ref {
    const xattrs = Object.entries(spec.xattrs ?? {})
    this.#nodes.push({
      mode: spec.mode,
      uid: spec.uid ?? 0,
      rdev: spec.rdev ?? 0,
      content: Buffer.from((spec.content ?? '') as string, 'latin1'),
      xattrs: new Map(xattrs.map(([name, value]) => [name, Buffer.from(value as string, 'latin1')])),
      children: new Map(),
      nlink: isRegular(spec.mode) ? 0 : isDirectory(spec.mode) ? 2 : 1,
      damaged: false,
    })
    return this.#nodes.length - 1
  }

  #node(ref: Ref): MemoryNode {
    const node = this.#nodes[ref]
    if (node === undefined) throw new FsError('EIO', `layer ${this.label}: no inode ${ref}`)
    return node
  }

  #directory(ref: Ref): MemoryNode {
    const node = this.#node(ref)
    if (!isDirectory(node.mode)) throw new FsError('ENOTDIR', `layer ${this.label}: inode ${ref}`)
    return node
  }

  #names(directory: Ref): Name[] {
    const { children } = this.#directory(directory)
    if (this.#unsorted) return [...children.keys()]
    const known = this.#sorted.get(directory) ?? [...children.keys()].sort()
    this.#sorted.set(directory, known)
    return known
  }

  #entry(name: Name, ref: Ref): LayerEntry {
    const type = this.wrongTypes.get(name) ?? direntType(this.#node(ref).mode)
    return { name, ref, ino: ref + 1, type }
  }

  #cursor(directory: Ref, start: number): DirectoryCursor {
    const names = this.#names(directory)
    let at = start
    return {
      next: () => {
        this.calls.next += 1
        const name = names[at]
        if (name === undefined) return undefined
        if (this.brokenNames.has(name)) throw new FsError('EIO', `layer ${this.label}: entry ${name}`)
        at += 1
        return this.#entry(name, this.#directory(directory).children.get(name) ?? -1)
      },
      get position() {
        return at
      },
    }
  }
}

/**
 * Builds a layer from lines, parents made on the way:
 * ```
 * etc/                     a directory
 * etc/passwd = some text   a file; without `=` it is empty
 * etc/link -> target       a symbolic link
 * etc/again == etc/passwd  a hard link
 * etc/gone c 0 0           a device (b, c) or a fifo (p)
 * etc/ {user.overlay.opaque=y mode=700 uid=5}
 * ```
 * `/` is the root. Values of attributes have no spaces.
 */
export function layer(
  label: string,
  text: string,
  options: { readonly unsorted?: boolean } = {},
): MemoryLayer {
  const built = new MemoryLayer(label, options)
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    if (line !== '') addLine(built, line)
  }
  return built
}

function addLine(built: MemoryLayer, line: string): void {
  const braces = /\s*\{(.*)\}$/.exec(line)
  const rest = braces === null ? line : line.slice(0, braces.index)
  const [, path, kind, value] = /^(\S+)(?: (->|==|=|[cbp])(?: (.*))?)?$/.exec(rest) ?? []
  if (path === undefined) throw new Error(`cannot read ${JSON.stringify(line)}`)
  const xattrs: Record<Name, string> = {}
  let permissions: number | undefined
  let uid = 0
  for (const pair of (braces?.[1] ?? '').split(' ').filter((one) => one !== '')) {
    const at = pair.indexOf('=')
    const [name, text] = [pair.slice(0, at), pair.slice(at + 1)]
    if (name === 'mode') permissions = Number.parseInt(text, 8)
    else if (name === 'uid') uid = Number(text)
    else xattrs[name] = text
  }
  const names = path.split('/').filter((one) => one !== '')
  const last = names.pop()
  if (last === undefined) {
    for (const [name, text] of Object.entries(xattrs)) built.setXattr(0, name, text)
    return
  }
  let parent = 0
  for (const name of names) {
    const known = built.lookup(parent, name)?.ref
    parent = known ?? built.add(parent, name, { mode: S_IFDIR | 0o755 })
  }
  if (kind === '==') {
    built.link(parent, last, built.at(value ?? ''))
    return
  }
  if (path.endsWith('/')) built.add(parent, last, { mode: S_IFDIR | (permissions ?? 0o755), uid, xattrs })
  else if (kind === '->')
    built.add(parent, last, { mode: S_IFLNK | 0o777, content: value ?? '', uid, xattrs })
  else if (kind === undefined || kind === '=') {
    built.add(parent, last, { mode: S_IFREG | (permissions ?? 0o644), content: value ?? '', uid, xattrs })
  } else {
    const [major = 0, minor = 0] = (value ?? '').split(' ').map(Number)
    built.add(parent, last, {
      mode: (TYPES[kind] ?? 0) | (permissions ?? 0o600),
      rdev: (major << 8) | minor,
      uid,
      xattrs,
    })
  }
}
