import { closeSync, constants, existsSync, fstatSync, openSync, readlinkSync } from 'node:fs'
import { decodePath, FsError, type PathText, withFsError } from '../../base/index.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { groupNamed, isBelow, userNamed } from './authorization.ts'
import { ANY_USAGE, IMAGE_TYPE, IMAGE_USAGE } from './constants.ts'
import { ImageError } from './errors.ts'
import { decodeImage, type ImageFields, type ImageJson, type Section } from './image-json.ts'
import { type MountedRoot, mountRoot } from './root.ts'

/** An image that is not open. */
const NO_FD = -1

/**
 * An image of Apptainer: a SIF, a bare squashfs or ext3 image, or a directory. `initImage` makes it; it is open, and its
 * ext3 partitions are locked, until `close`.
 */
export class Image implements ImageFields {
  readonly partitions: readonly Section[]
  readonly sections: readonly Section[]
  readonly path: PathText
  readonly name: PathText
  readonly source: string
  readonly type: number
  readonly writable: boolean
  /** What the image is used for, bits of `IMAGE_USAGE`: the getters show partitions for that use only. */
  usage: number
  /** What Apptainer refuses, or leaves out without a word: a line each. */
  readonly remarks: readonly string[]
  #fd: number
  readonly #releases: readonly (() => void)[]
  #isOpen: boolean

  /** For `initImage` and `Image.fromJson`. @param releases called at the end, before the descriptor is closed */
  constructor(fields: ImageFields, { isOpen = false, remarks = [], releases = [] }: ImageState = {}) {
    this.partitions = fields.partitions
    this.sections = fields.sections
    this.path = fields.path
    this.name = fields.name
    this.source = fields.source
    this.type = fields.type
    this.writable = fields.writable
    this.usage = fields.usage
    this.remarks = remarks
    this.#fd = fields.fd
    this.#releases = releases
    this.#isOpen = isOpen
  }

  /**
   * An image that another process has described with `toJSON`. Its descriptor is that of the other process; where it was
   * inherited, `reInit` opens it.
   * @throws UsageError for what is no such description
   */
  static fromJson(json: ImageJson | string): Image {
    return new Image(decodeImage(json))
  }

  /** The open file; −1 after `close`. */
  get fd(): number {
    return this.#fd
  }

  /** Whether it can be read here. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /**
   * Opens `/proc/self/fd/N` again, where N is the descriptor that the description names; does nothing for an image that is
   * open. The new descriptor is for reading, and has no locks of its own.
   * @throws FsError EBADF where this process has no such descriptor; others where the file cannot be opened
   */
  reInit(): void {
    if (this.#isOpen || this.path === '') return
    if (this.#fd < 0) throw new FsError('EBADF', `${this.path}: is not open, and has no descriptor`)
    const inherited = this.#fd
    if (!existsSync(descriptorPath(inherited))) {
      throw new FsError('EBADF', `${this.path}: descriptor ${inherited} is not open here`)
    }
    this.#fd = withFsError(this.path, () => openSync(descriptorPath(inherited), constants.O_RDONLY))
    this.#isOpen = true
  }

  /** Closes the file, and ends its locks, unless another process has inherited the descriptor. A second call does nothing. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    for (const release of this.#releases) release()
    closeSync(this.#fd)
    this.#fd = NO_FD
  }

  /** Partitions for any use, as far as the image is used for it. */
  getAllPartitions(): readonly Section[] {
    return this.#partitionsFor(ANY_USAGE)
  }

  /** The first partition that can be the root file system. @throws ImageError `no-partition` */
  getRootFsPartition(): Section {
    const [first] = this.getRootFsPartitions()
    if (first === undefined) throw new ImageError('no-partition', 'no root filesystem found')
    return first
  }

  /** Partitions that can be the root file system; none unless `usage` has `ROOT_FS`. */
  getRootFsPartitions(): readonly Section[] {
    return this.#partitionsFor(IMAGE_USAGE.ROOT_FS)
  }

  /** Partitions for overlays; none unless `usage` has `OVERLAY`. */
  getOverlayPartitions(): readonly Section[] {
    return this.#partitionsFor(IMAGE_USAGE.OVERLAY)
  }

  /** Partitions with data; none unless `usage` has `DATA`. */
  getDataPartitions(): readonly Section[] {
    return this.#partitionsFor(IMAGE_USAGE.DATA)
  }

  /** Whether a root file system is encrypted. */
  hasEncryptedRootFs(): boolean {
    return this.encryptedRootFs() !== ''
  }

  /** How the root file system is encrypted: `encryptfs` is LUKS2; empty for one that is not. */
  encryptedRootFs(): 'encryptfs' | 'gocryptfs' | '' {
    for (const { type } of this.getRootFsPartitions()) {
      if (type === IMAGE_TYPE.ENCRYPTSQUASHFS) return 'encryptfs'
      if (type === IMAGE_TYPE.GOCRYPTFSSQUASHFS) return 'gocryptfs'
    }
    return ''
  }

  /**
   * Whether the image belongs to one of these users, by their names.
   * @throws FsError ENOENT for a name that is no user, where none before it matches; EBADF where the image is not open
   */
  authorizedOwner(users: readonly string[]): boolean {
    const { uid } = this.#stat()
    return users.some((name) => userNamed(name) === uid)
  }

  /** As `authorizedOwner`, for the group of the file. */
  authorizedGroup(groups: readonly string[]): boolean {
    const { gid } = this.#stat()
    return groups.some((name) => groupNamed(name) === gid)
  }

  /**
   * Whether the image lies in one of these folders, or is one of them: links are resolved, and `/scratch` does not stand for
   * `/scratch2`. Where the open file has another path by now, that one counts.
   * @throws FsError what the system said of a folder, where none before it matches; UsageError for one that is not absolute
   */
  authorizedPath(folders: readonly PathText[]): boolean {
    const path = this.#currentPath()
    return folders.some((folder) => isBelow(path, folder))
  }

  /**
   * The root file system as the runtime specification has it (`root`). A directory is its own; anything else is mounted, a
   * SIF with its overlays, and unmounted with `umount`.
   * @param target the directory to mount on
   * @throws FsError why there is no mount: ENOKEY for an encrypted image that was not unlocked (`unlockSource`)
   */
  async root(target: PathText): Promise<MountedRoot> {
    if (!this.#isOpen) throw new FsError('EBADF', `${this.path}: is not open`)
    return await mountRoot(this, target)
  }

  /** The description that other processes read, with the names of Apptainer. */
  toJSON(): ImageJson {
    const json = (section: Section): ImageJson['partitions'][number] => {
      const { name, size, offset, id, type, allowedUsage } = section
      return { name, size, offset, id, type, allowed_usage: allowedUsage }
    }
    return {
      partitions: this.partitions.map(json),
      sections: this.sections.map(json),
      path: this.path,
      name: this.name,
      source: this.source,
      type: this.type,
      fd: this.#fd,
      writable: this.writable,
      usage: this.usage,
    }
  }

  #partitionsFor(usage: number): readonly Section[] {
    if ((this.usage & usage) === 0) return []
    return this.partitions.filter(({ allowedUsage }) => (allowedUsage & usage) !== 0)
  }

  #stat(): { readonly uid: number; readonly gid: number } {
    if (!this.#isOpen) throw new FsError('EBADF', `failed to get stat for ${this.path}`)
    return fstatSync(this.#fd)
  }

  /** What the descriptor leads to; the path that was opened where nobody knows. */
  #currentPath(): PathText {
    if (!this.#isOpen) return this.path
    try {
      const bytes = readlinkSync(descriptorPath(this.#fd), { encoding: 'buffer' })
      const path = decodePath(bytes).replace(/ \(deleted\)$/, '')
      return path.startsWith('/') ? path : this.path
    } catch {
      return this.path
    }
  }
}

interface ImageState {
  readonly isOpen?: boolean
  readonly remarks?: readonly string[]
  readonly releases?: readonly (() => void)[]
}

/** A format that is only read was to be opened for writing. The image is open, for reading. */
export class ReadOnlyImageError extends ImageError {
  override readonly name = 'ReadOnlyImageError'
  /** Belongs to whoever catches the error, and is to be closed. */
  readonly image: Image

  constructor(image: Image) {
    super('read-only', `could not set ${image.path} image writable: squashfs is a read-only filesystem`)
    this.image = image
  }
}

/** Whether an error of `initImage` says that the image can only be read; `error.image` is then open. */
export function isReadOnlyFilesystem(error: unknown): error is ReadOnlyImageError {
  return error instanceof ReadOnlyImageError
}
