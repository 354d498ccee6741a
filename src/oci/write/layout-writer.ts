import { createHash } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, readSync, writeFileSync } from 'node:fs'
import { FsError, isErrno, type Name, type PathText, unlessFailed, withFsError } from '../../base/index.ts'
import { mkdirAt, O_PATH, openAt, reopenDirectory, unlinkAt } from '../../sys/files/at.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import { listNames } from '../../sys/files/directory-entries.ts'
import { syncFd } from '../../sys/files/file-io.ts'
import { withFolderLock } from '../../sys/files/lock.ts'
import { syncFolder } from '../../sys/files/new-file.ts'
import { statAt } from '../../sys/files/statx.ts'
import { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import { forgetMade, type MadeFolder, removeMade, walkTo } from '../../sys/files/walk.ts'
import { quote } from '../digest.ts'
import { type LayoutFiles, layoutIn } from '../layout.ts'
import { openLayoutFolder } from '../layout-file.ts'
import { INDEX_TYPE } from '../media-type.ts'
import type { Descriptor, ImageIndex } from '../schema.ts'
import { REF_NAME, readLayoutIndex } from '../select.ts'

const FOLDER_MODE = 0o755
const FILE_MODE = 0o644
/** What a layout is made of; others of it may be missing where a program was killed. */
const PARTS: ReadonlySet<Name> = new Set(['oci-layout', 'index.json', 'blobs'])
const CHUNK = 1 << 20

/** A blob that is whole and has no name yet. */
interface NewBlob {
  readonly file: UnfinishedFile
  readonly hex: string
}

/**
 * An image layout that gets one more image. Nothing of the image is seen until `publish`: its blobs are files without
 * names, so whoever is killed before leaves none. Blobs get their names first and the index is replaced last, so the
 * layout is whole at every moment.
 */
export class LayoutWriter {
  /** Absolute, without symbolic links. */
  readonly path: PathText
  /** The images that are there; undefined in a new layout. */
  readonly present: { readonly files: LayoutFiles; readonly index: ImageIndex } | undefined
  readonly #folder: number
  readonly #blobFolder: number
  #made: readonly MadeFolder[]
  #blobs: NewBlob[] = []
  /** Blobs that got their names at once, and go away unless the image is published. */
  readonly #stored = new Set<string>()

  private constructor(path: PathText, folder: number, blobFolder: number, made: readonly MadeFolder[]) {
    this.path = path
    this.#folder = folder
    this.#blobFolder = blobFolder
    this.#made = made
    this.present = this.#read()
  }

  /**
   * Opens a layout, or makes its folders where there is none.
   * @param ociDir absolute
   * @throws FsError ENOTEMPTY for a directory of other things; EACCES, EROFS, EIO for a damaged layout, …
   */
  static open(ociDir: PathText): LayoutWriter {
    const { fd, path, made } = walkTo(ociDir, { make: FOLDER_MODE, guarded: false })
    const all = [...made]
    try {
      assertLayout(fd, path)
      const blobs = makeFolder(fd, 'blobs', all)
      if (blobs !== undefined) {
        try {
          const sha256 = makeFolder(blobs, 'sha256', all)
          if (sha256 !== undefined) closeSync(sha256)
        } finally {
          closeSync(blobs)
        }
      }
      const blobFolder = openLayoutFolder(path, ['blobs', 'sha256'], 'blobs')
      try {
        return new LayoutWriter(path, fd, blobFolder, all)
      } catch (error) {
        closeSync(blobFolder)
        throw error
      }
    } catch (error) {
      removeMade(all)
      closeSync(fd)
      throw error
    }
  }

  /** A file for a blob; `keep` or its `close` ends its use. @throws FsError ENOSPC, EACCES, … */
  begin(): UnfinishedFile {
    return UnfinishedFile.begin(this.#blobFolder, 'blob', FILE_MODE)
  }

  /** Takes a blob that is whole. @param digest SHA-256 of its bytes, hex */
  keep(file: UnfinishedFile, hex: string): void {
    this.#blobs.push({ file, hex })
  }

  /** Gives back a blob that was kept: it is no part of the image. */
  drop(file: UnfinishedFile): void {
    this.#blobs = this.#blobs.filter((blob) => blob.file !== file)
    file.close()
  }

  /**
   * Stores a blob at once: an image may have too many for all of them to be open. A program that is killed leaves those
   * that it has stored, which nothing names.
   * @param hex SHA-256 of the bytes
   * @throws FsError ENOSPC, EACCES, …
   */
  store(bytes: Uint8Array, hex: string): void {
    const file = this.begin()
    try {
      withFsError(`${this.path}: blob ${hex}`, () => writeFileSync(file.fd, bytes))
      if (nameBlob(this.#blobFolder, { file, hex })) this.#stored.add(hex)
    } finally {
      file.close()
    }
  }

  /** Takes a document. @returns its descriptor */
  document(mediaType: string, document: object): Descriptor {
    const bytes = Buffer.from(JSON.stringify(document))
    const hex = createHash('sha256').update(bytes).digest('hex')
    const file = this.begin()
    this.keep(file, hex)
    withFsError(`${this.path}: ${mediaType}`, () => writeFileSync(file.fd, bytes))
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
  }

  /**
   * Gives the image its tag, which another one loses.
   * @param manifest as it is to stand in the index, without the tag
   * @throws FsError EBUSY where another process holds the lock of the layout for seconds; ENOSPC, EIO, …
   */
  publish(tag: string, manifest: Descriptor): void {
    for (const { file } of this.#blobs) withFsError(this.path, () => fsyncSync(file.fd))
    for (const blob of this.#blobs) nameBlob(this.#blobFolder, blob)
    if (this.#stored.size > 0) syncAll(this.#blobFolder)
    syncFolder(this.#blobFolder)
    withFolderLock(this.#folder, this.path, () => {
      const index = this.#read()?.index ?? { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [] }
      const others = index.manifests.filter(({ annotations }) => annotations?.[REF_NAME] !== tag)
      const named = { ...manifest, annotations: { ...manifest.annotations, [REF_NAME]: tag } }
      this.#replace('index.json', { ...index, manifests: [...others, named] })
      if (statAt(this.#folder, 'oci-layout') === undefined) {
        this.#replace('oci-layout', { imageLayoutVersion: '1.0.0' })
      }
      syncFolder(this.#folder)
    })
    forgetMade(this.#made)
    this.#made = []
    this.#stored.clear()
  }

  /** Ends the use. Without `publish` nothing of the image is left, nor are folders that were made for it. */
  close(): void {
    for (const { file } of this.#blobs.splice(0)) file.close()
    for (const hex of this.#stored) unlessFailed(() => unlinkAt(this.#blobFolder, hex))
    this.#stored.clear()
    removeMade(this.#made)
    this.#made = []
    closeSync(this.#blobFolder)
    closeSync(this.#folder)
  }

  #read(): LayoutWriter['present'] {
    if (statAt(this.#folder, 'oci-layout') === undefined) return undefined
    const files = layoutIn(this.path)
    return { files, index: readLayoutIndex(files) }
  }

  #replace(name: Name, document: object): void {
    const file = UnfinishedFile.begin(this.#folder, name, FILE_MODE)
    try {
      withFsError(`${this.path}/${name}`, () => {
        writeFileSync(file.fd, JSON.stringify(document))
        fsyncSync(file.fd)
      })
      file.giveName(name, true)
    } finally {
      file.close()
    }
  }
}

/** Many small files are on the disk sooner together than one by one. @param folder O_PATH */
function syncAll(folder: number): void {
  const fd = reopenDirectory(folder)
  try {
    syncFd(fd, 'file system')
  } finally {
    closeSync(fd)
  }
}

/** @throws FsError ENOTEMPTY where a directory is neither a layout nor the beginning of one */
function assertLayout(folder: number, path: PathText): void {
  const names = listNames(folder)
  if (names.includes('oci-layout') || names.every((name) => PARTS.has(name) || name.endsWith('.part'))) return
  throw new FsError('ENOTEMPTY', `directory ${quote(path)} is no OCI image layout, and not empty`)
}

/** @returns an O_PATH descriptor if it was made, else undefined: links to folders of blobs are followed elsewhere */
function makeFolder(parent: number, name: Name, made: MadeFolder[]): number | undefined {
  try {
    mkdirAt(parent, name, FOLDER_MODE)
    made.push({ parent: duplicateDescriptor(parent), name })
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
  }
  const fd = openAt(parent, name, O_PATH)
  if (fstatSync(fd).isDirectory()) return fd
  closeSync(fd)
  return undefined
}

/** A blob that is there already stays, unless its bytes are not those that its name says. @returns whether it is new */
function nameBlob(folder: number, { file, hex }: NewBlob): boolean {
  try {
    file.giveName(hex, false)
    return true
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
    if (!hasDigest(folder, hex)) file.giveName(hex, true)
    return false
  }
}

function hasDigest(folder: number, hex: string): boolean {
  const fd = openAt(folder, hex, 0)
  try {
    const hash = createHash('sha256')
    const chunk = Buffer.alloc(CHUNK)
    for (let at = 0; ; ) {
      const length = readSync(fd, chunk, 0, CHUNK, at)
      if (length === 0) return hash.digest('hex') === hex
      hash.update(chunk.subarray(0, length))
      at += length
    }
  } finally {
    closeSync(fd)
  }
}
