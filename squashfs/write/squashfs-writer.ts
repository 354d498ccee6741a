import {
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  namesOfPath,
  type PendingLink,
  PendingLinks,
  S_IFDIR,
} from '../../src/base/index.ts'
import { type Encoder, type EncoderSettings, openEncoder } from '../../src/codecs/encode/index.ts'
import { NO_TABLE, SUPERBLOCK_FLAGS, SUPERBLOCK_SIZE } from '../superblock.ts'
import { type BlockCompressor, BlockQueue } from './block-queue.ts'
import { DataWriter } from './data-writer.ts'
import { type ListedName, writeListing } from './directory-writer.ts'
import type { FileOutput } from './file-output.ts'
import { FragmentWriter } from './fragment-writer.ts'
import { IdWriter } from './id-writer.ts'
import { InlineCompressor } from './inline-compressor.ts'
import { basicType, InodeWriter } from './inode-writer.ts'
import { Layout, visit } from './layout.ts'
import { writeLookupTable } from './lookup-writer.ts'
import { type Compress, MetadataWriter } from './metadata-writer.ts'
import { RecordBuffer } from './record.ts'
import { encodeCompressorOptions, encodeSuperblock } from './superblock-writer.ts'
import { type NodeAttributes, type NodeIndex, Tree } from './tree.ts'
import { type Attribute, XattrWriter } from './xattr-writer.ts'

const MTIME_MAX = 0xffff_ffff
const TARGET_MAX = 4095
/** For messages about a path. */
const ENTRY = 'entry of an image'
/** Images end at a multiple of this, so that they fit a block device. */
const PADDING = 4096

/** One file, directory or other object, as a tar archive or a directory of the machine has it. */
export interface NewEntry {
  /** Type and permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970. Squashfs has whole ones from 1970 to 2106: others become the nearest. */
  readonly mtime: number
  /** Devices, as the kernel encodes it in 32 bits. */
  readonly rdev?: number
  /** Symbolic links. */
  readonly target?: Uint8Array
  readonly xattrs?: readonly Attribute[]
  /** Regular files: bytes that will come. */
  readonly size?: number
  /** Its pieces are the writer's from then on: they must not change before `finish` has returned. */
  readonly content?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

/** How an image is written. What is absent has the default of mksquashfs. */
export interface WriterOptions extends EncoderSettings {
  /** Compresses data blocks in other threads; in this one if absent. */
  readonly compressor?: BlockCompressor
  readonly noFragments?: boolean
  /** Tail ends of files that have whole blocks go into fragments, too. */
  readonly tailEnds?: boolean
  readonly noDuplicateCheck?: boolean
  readonly noExportTable?: boolean
  readonly noPadding?: boolean
  /** Stored as they are: inodes and directories, data, fragments, attributes, ids. */
  readonly uncompressed?: Partial<Record<'inodes' | 'data' | 'fragments' | 'xattrs' | 'ids', boolean>>
  /** Seconds since 1970 for the superblock; the newest mtime of the entries if absent, so that the image is reproducible. */
  readonly modTime?: number
  /** Attributes of directories that are needed but never come. */
  readonly directoryDefaults?: Pick<NewEntry, 'mode' | 'uid' | 'gid' | 'mtime'>
}

/** What was written. */
export interface WrittenImage {
  /** Bytes of the image without padding. */
  readonly bytesUsed: number
  readonly inodes: number
  /** What compressed it, with its version where it says one. */
  readonly encoder: string
  /** Entries whose mtime squashfs cannot store. */
  readonly clampedTimes: number
}

/** A directory with its path as the entries in it have it. */
interface KnownFolder {
  readonly path: Name
  readonly node: NodeIndex
}

/**
 * Makes a squashfs 4.0 image from entries in any order: a child may come before its directory, an entry may come again and
 * replaces the earlier one, a hard link may come before its file. Data blocks go to the output at once; inodes and
 * directories are kept in memory, some 100 bytes each, and are written by `finish`. The same entries in the same order and
 * the same options give the same bytes, with any number of threads.
 */
export class SquashfsWriter {
  readonly #output: FileOutput
  readonly #options: WriterOptions
  readonly #encoder: Encoder
  readonly #ids = new IdWriter()
  readonly #xattrs: XattrWriter
  readonly #tree: Tree
  /** Of directories that never come. */
  readonly #defaults: NodeAttributes
  readonly #queue: BlockQueue
  readonly #fragments: FragmentWriter | undefined
  readonly #data: DataWriter
  /** Hard links whose file has not come yet. */
  readonly #pending = new PendingLinks()
  /** Where the last entry was added, and the last directory: the next entry mostly lies in one of them. */
  #folder: KnownFolder | undefined
  #directory: KnownFolder | undefined
  #clampedTimes = 0
  #newest = 0

  /** @throws FsError EINVAL for options that squashfs does not have; EOPNOTSUPP without the compressor */
  constructor(output: FileOutput, options: WriterOptions) {
    const { blockSize, uncompressed = {} } = options
    if (blockSize < 4096 || blockSize > 1 << 20 || (blockSize & (blockSize - 1)) !== 0) {
      throw new FsError('EINVAL', `block size ${blockSize}: a power of two from 4096 to 1048576 is needed`)
    }
    this.#output = output
    this.#options = options
    this.#encoder = openEncoder(options)
    this.#xattrs = new XattrWriter(this.#compress(uncompressed.xattrs))
    const compressor = options.compressor ?? new InlineCompressor(openEncoder(options), blockSize)
    this.#queue = new BlockQueue(output, compressor)
    this.#fragments =
      options.noFragments === true
        ? undefined
        : new FragmentWriter(this.#queue, blockSize, uncompressed.fragments !== true)
    this.#data = new DataWriter(this.#queue, {
      blockSize,
      fragments: this.#fragments,
      tailEnds: options.tailEnds ?? false,
      compressData: uncompressed.data !== true,
      deduplicate: options.noDuplicateCheck !== true,
    })
    output.write(new Uint8Array(SUPERBLOCK_SIZE))
    output.write(encodeCompressorOptions(options))
    this.#defaults = this.#directoryDefaults()
    this.#tree = new Tree(this.#defaults)
  }

  /**
   * Adds an entry, or replaces the one that has its path. `''` is the root.
   * @param path names between slashes, as bytes in latin1
   * @throws FsError EINVAL, ENAMETOOLONG for the path; ENOTDIR, EISDIR where it does not fit what came before; EIO, ENOSPC
   */
  async add(path: Name, entry: NewEntry): Promise<void> {
    const attributes = this.#attributesAt(path, entry)
    const { parent, name, isClean } = this.#placeOf(path)
    if (name === undefined) {
      if (!isDirectory(entry.mode)) throw new FsError('ENOTDIR', 'the root of an image must be a directory')
      this.#tree.change(0, attributes)
      return
    }
    const present = this.#tree.lookup(parent, name)
    if (isDirectory(entry.mode)) {
      if (present !== undefined && this.#tree.isDirectory(present)) {
        this.#tree.change(present, attributes)
        if (isClean) this.#directory = { path, node: present }
        return
      }
    } else if (present !== undefined && this.#tree.isDirectory(present)) {
      this.#removeDirectory(parent, name)
    }
    const node = this.#tree.addNode(attributes)
    if (isSymlink(entry.mode)) this.#setTarget(node, path, entry.target)
    if (isRegular(entry.mode)) await this.#setContent(node, path, entry)
    this.#tree.name(parent, name, node)
    if (isClean && isDirectory(entry.mode)) this.#directory = { path, node }
  }

  /**
   * The directory of an entry, made where it is missing, and the name of the entry in it; the root has none.
   * @returns `isClean`: the path is nothing but its names with a slash between them
   */
  #placeOf(path: Name): {
    readonly parent: NodeIndex
    readonly name: Name | undefined
    readonly isClean: boolean
  } {
    const slash = path.lastIndexOf('/')
    const folder = path.slice(0, Math.max(slash, 0))
    const known = [this.#folder, this.#directory].find((one) => slash > 0 && folder === one?.path)
    if (known !== undefined) {
      const [name, ...none] = namesOfPath(path.slice(slash + 1), ENTRY)
      this.#folder = known
      if (name !== undefined && none.length === 0) return { parent: known.node, name, isClean: true }
    }
    const names = namesOfPath(path, ENTRY)
    const name = names.pop()
    const parent = this.#tree.directoryAt(names, this.#defaults)
    // Of a path such as `a/.` the name lies elsewhere.
    const isClean = folder === names.join('/') && name === path.slice(slash + 1)
    this.#folder = isClean ? { path: folder, node: parent } : undefined
    return { parent, name, isClean }
  }

  /** Takes a directory away, with all that lies below it: nothing of it is known any more. */
  #removeDirectory(parent: NodeIndex, name: Name): void {
    this.#tree.remove(parent, name)
    this.#folder = undefined
    this.#directory = undefined
  }

  /** Gives a file one more name. The file may come later; it must be there at the end. @throws FsError as `add`; EPERM */
  link(path: Name, target: Name): void {
    const names = namesOfPath(path, ENTRY)
    const targetNames = namesOfPath(target, 'hard link')
    const node = this.#tree.nodeAt(targetNames)
    if (node !== undefined) {
      this.#linkTo(names, node)
      return
    }
    this.#removeFile(names)
    this.#pending.add({ path: names.join('/'), target: targetNames.join('/') })
  }

  #removeFile(names: readonly Name[]): void {
    const parent = this.#tree.nodeAt(names.slice(0, -1))
    const name = names.at(-1)
    const node = this.#tree.nodeAt(names)
    if (parent === undefined || name === undefined || node === undefined) return
    if (!this.#tree.isDirectory(node)) this.#tree.remove(parent, name)
  }

  /** Gives a directory one more attribute, in place of one of that name. A directory that has not come is made. */
  addAttribute(path: Name, attribute: Attribute): void {
    const node = this.#tree.directoryAt(namesOfPath(path, ENTRY), this.#defaults)
    const others = this.#xattrs
      .attributesOf(this.#tree.xattrs.get(node))
      .filter(([name]) => name !== attribute[0])
    this.#tree.xattrs.set(node, this.#xattrs.add([...others, attribute]))
  }

  /** Type and permission bits of what has a path so far; undefined for nothing. */
  modeAt(path: Name): number | undefined {
    const node = this.#tree.nodeAt(namesOfPath(path, ENTRY))
    return node === undefined ? undefined : this.#tree.mode.get(node)
  }

  /** Where a symbolic link that has a path so far leads; undefined for what is none. */
  targetAt(path: Name): Uint8Array | undefined {
    const node = this.#tree.nodeAt(namesOfPath(path, ENTRY))
    return node !== undefined && isSymlink(this.#tree.mode.get(node)) ? this.#tree.target(node) : undefined
  }

  /** Paths of directories that have something in them and have not come themselves, each before those below it. */
  missingDirectories(): Iterable<Name> {
    return this.#tree.implied()
  }

  /** Hard links whose file has not come. `finish` fails if there are any. */
  missingLinks(): readonly PendingLink[] {
    this.#resolveLinks()
    return this.#pending.list()
  }

  /** Writes inodes, directories and tables. @throws FsError ENOENT for a hard link without its file; ENOSPC, EFBIG */
  async finish(): Promise<WrittenImage> {
    this.#assertLinksResolved()
    await this.#fragments?.flush()
    await this.#queue.drain()
    const { uncompressed = {}, blockSize, noExportTable = false } = this.#options
    const layout = new Layout(this.#tree)
    const inodeTable = new MetadataWriter(this.#compress(uncompressed.inodes))
    const directoryTable = new MetadataWriter(this.#compress(uncompressed.inodes))
    const inodes = new InodeWriter(this.#tree, layout, this.#data.table, inodeTable)
    const references = new Float64Array(layout.count)
    const note = (node: NodeIndex): void => {
      const { block, offset } = inodes.position(node)
      references[inodes.numberOf(node) - 1] = block * 65_536 + offset
    }
    visit(this.#tree, layout.listings, {
      node: (node) => {
        inodes.write(node)
        note(node)
      },
      directory: (node, rows) => {
        inodes.directory(node, writeListing(directoryTable, this.#listed(rows, inodes)))
        note(node)
      },
    })
    const output = this.#output
    const inodeStart = output.position
    output.write(inodeTable.finish())
    const directoryStart = output.position
    output.write(directoryTable.finish())
    const fragments = this.#fragments
    const compress = this.#compress(uncompressed.inodes)
    const fragmentTable =
      fragments === undefined || fragments.count === 0
        ? NO_TABLE
        : writeLookupTable(output, fragments.records(), this.#compress(uncompressed.fragments))
    const exportTable = noExportTable
      ? NO_TABLE
      : writeLookupTable(output, exportRecords(references), compress)
    const idTable = writeLookupTable(output, this.#ids.records(), this.#compress(uncompressed.ids))
    const xattrTable = this.#writeXattrs(uncompressed.xattrs)
    const bytesUsed = output.position
    const root = inodes.position(0)
    if (this.#options.noPadding !== true) {
      output.write(new Uint8Array((PADDING - (output.position % PADDING)) % PADDING))
    }
    output.finish()
    output.writeAt(
      encodeSuperblock({
        inodeCount: layout.count,
        modTime: this.#options.modTime ?? this.#newest,
        blockSize,
        fragmentCount: fragments?.count ?? 0,
        compressor: this.#options.name,
        blockLog: Math.log2(blockSize),
        flags: this.#flags(xattrTable),
        idCount: this.#ids.count,
        rootBlock: root.block,
        rootOffset: root.offset,
        bytesUsed,
        idTable,
        xattrTable,
        inodeTable: inodeStart,
        directoryTable: directoryStart,
        fragmentTable,
        exportTable,
      }),
      0,
    )
    return {
      bytesUsed,
      inodes: layout.count,
      encoder: this.#encoder.library,
      clampedTimes: this.#clampedTimes,
    }
  }

  #listed(rows: Uint32Array, inodes: InodeWriter): readonly ListedName[] {
    return Array.from(rows, (row): ListedName => {
      const node = this.#tree.childOf(row)
      return {
        name: this.#tree.nameBytes(row),
        inodeNumber: inodes.numberOf(node),
        type: basicType(this.#tree.mode.get(node)),
        inode: inodes.position(node),
      }
    })
  }

  #writeXattrs(isUncompressed: boolean | undefined): number {
    if (this.#xattrs.count === 0) return NO_TABLE
    const start = this.#output.position
    this.#output.write(this.#xattrs.finish())
    const header = new RecordBuffer().u64(start).u32(this.#xattrs.count).u32(0).bytes
    return writeLookupTable(this.#output, this.#xattrs.records(), this.#compress(isUncompressed), header)
  }

  #flags(xattrTable: number): number {
    const { uncompressed = {}, noFragments, tailEnds, noDuplicateCheck, noExportTable } = this.#options
    const is = (set: boolean | undefined, flag: number): number => (set === true ? flag : 0)
    return (
      is(uncompressed.inodes, SUPERBLOCK_FLAGS.uncompressedInodes) |
      is(uncompressed.data, SUPERBLOCK_FLAGS.uncompressedData) |
      is(uncompressed.fragments, SUPERBLOCK_FLAGS.uncompressedFragments) |
      is(uncompressed.xattrs, SUPERBLOCK_FLAGS.uncompressedXattrs) |
      is(uncompressed.ids, SUPERBLOCK_FLAGS.uncompressedIds) |
      is(noFragments, SUPERBLOCK_FLAGS.noFragments) |
      is(tailEnds, SUPERBLOCK_FLAGS.alwaysFragments) |
      is(noDuplicateCheck !== true, SUPERBLOCK_FLAGS.deduplicated) |
      is(noExportTable !== true, SUPERBLOCK_FLAGS.exportable) |
      is(xattrTable === NO_TABLE, SUPERBLOCK_FLAGS.noXattrs) |
      is(encodeCompressorOptions(this.#options).length > 0, SUPERBLOCK_FLAGS.compressorOptions)
    )
  }

  #compress(isUncompressed: boolean | undefined): Compress | undefined {
    return isUncompressed === true ? undefined : (input, output) => this.#encoder.encode(input, output)
  }

  #attributesAt(path: Name, entry: NewEntry): NodeAttributes {
    try {
      return this.#attributesOf(entry)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      throw new FsError(error.code, `${JSON.stringify(path)}: ${error.message}`, { cause: error })
    }
  }

  #attributesOf({ mode, uid, gid, mtime, rdev = 0, xattrs = [] }: NewEntry): NodeAttributes {
    const seconds = Math.floor(mtime)
    const clamped = Math.min(Math.max(seconds, 0), MTIME_MAX)
    if (clamped !== seconds) this.#clampedTimes += 1
    this.#newest = Math.max(this.#newest, clamped)
    basicType(mode)
    return {
      mode,
      uid: this.#ids.index(uid),
      gid: this.#ids.index(gid),
      mtime: clamped,
      xattrs: this.#xattrs.add(xattrs),
      rdev,
    }
  }

  #directoryDefaults(): NodeAttributes {
    const { mode, uid, gid, mtime } = this.#options.directoryDefaults ?? {
      mode: 0o755,
      uid: 0,
      gid: 0,
      mtime: 0,
    }
    return this.#attributesOf({ mode: S_IFDIR | (mode & 0o7777), uid, gid, mtime })
  }

  #setTarget(node: NodeIndex, path: Name, target: Uint8Array | undefined): void {
    const refused = (what: string): FsError =>
      new FsError('EINVAL', `${JSON.stringify(path)}: link target ${what}`)
    if (target === undefined || target.length === 0 || target.length > TARGET_MAX) {
      throw refused(`of ${target?.length ?? 0} bytes, 1 to ${TARGET_MAX} are allowed`)
    }
    // The kernel would show what stands before it.
    if (target.includes(0)) throw refused('with a NUL in it')
    this.#tree.setTarget(node, target)
  }

  async #setContent(node: NodeIndex, label: Name, { size = 0, content = [] }: NewEntry): Promise<void> {
    this.#tree.size.set(node, size)
    this.#tree.data.set(node, await this.#data.store({ size, chunks: content, label }))
  }

  #linkTo(names: Name[], node: NodeIndex): void {
    const name = names.pop()
    const shown = JSON.stringify(name)
    if (name === undefined || this.#tree.isDirectory(node))
      throw new FsError('EPERM', `${shown}: hard link to a directory`)
    const parent = this.#tree.directoryAt(names, this.#defaults)
    const present = this.#tree.lookup(parent, name)
    if (present === node) return
    if (present !== undefined && this.#tree.isDirectory(present)) this.#removeDirectory(parent, name)
    this.#tree.name(parent, name, node)
  }

  #resolveLinks(): void {
    this.#pending.resolve((path, target) => {
      const names = namesOfPath(path, ENTRY)
      // An entry that came later has the name.
      if (this.#tree.nodeAt(names) !== undefined) return true
      const node = this.#tree.nodeAt(namesOfPath(target, ENTRY))
      if (node !== undefined) this.#linkTo(names, node)
      return node !== undefined
    })
  }

  #assertLinksResolved(): void {
    const [first] = this.missingLinks()
    if (first === undefined) return
    const [path, target] = [first.path, first.target].map((name) => JSON.stringify(name))
    throw new FsError('ENOENT', `hard link ${path}: there is no ${target}`)
  }
}

function* exportRecords(references: Float64Array): Generator<Uint8Array> {
  const record = new RecordBuffer()
  for (const reference of references) yield record.clear().u64(reference).bytes
}
