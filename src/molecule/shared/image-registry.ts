import fs from 'node:fs'
import { type ImageFile, majorOf, minorOf, type PathText, systemPath } from '../../base/index.ts'
import { replaceDescriptor } from '../../sys/files/descriptor.ts'
import { blobDescriptors } from '../../transforms/index.ts'
import { BlobKeepers, type BlobWish } from '../blobs/blobs-of-images.ts'
import { closeImage } from '../image-file.ts'
import type { ImageOpener } from '../resolve.ts'
import type { ImageSpec } from '../spec.ts'
import { allocateTally } from '../tally.ts'
import type { SharedImage } from './image-set.ts'

/** An image that is open for mounts. */
interface Entry extends SharedImage {
  readonly key: string
  readonly keeper: BlobKeepers
  /** Mounts that have it, and those that are being made. */
  users: number
}

/**
 * The images of all mounts of a server, each opened once. Used by the main thread. Two mounts share an image where both
 * name the same file by the same path and know the same of it: with the same root hash, but in two files, one of them
 * may be damaged.
 */
export class ImageRegistry {
  readonly #threads: number
  readonly #byKey = new Map<string, Entry>()
  readonly #bySpec = new Map<ImageSpec, Entry>()
  #next = 0

  /** @param threads that count what they verify */
  constructor(threads: number) {
    this.#threads = threads
  }

  /** Number of images that are open. */
  get size(): number {
    return this.#bySpec.size
  }

  /**
   * Opens the images of one mount.
   * @param named gives the path that people know for one that leads through a descriptor
   * @param assertReadable throws for a file system (`major:minor`) that this process must not read
   */
  opener(named: (path: PathText) => PathText, assertReadable: (device: string) => void): ImageOpener {
    return {
      open: (file, make) => this.#open(file, make, named, assertReadable),
      close: (spec) => this.release(spec),
    }
  }

  #open(
    file: ImageFile,
    make: (file: ImageFile) => ImageSpec,
    named: (path: PathText) => PathText,
    assertReadable: (device: string) => void,
  ): ImageSpec {
    const fd = openReadable(file, assertReadable)
    let isOurs = true
    try {
      const key = keyOf(file, fd, named)
      const present = this.#byKey.get(key)
      if (present !== undefined) {
        present.users += 1
        return present.spec
      }
      // Whoever makes it closes the descriptor where that fails.
      isOurs = false
      const spec = make(asNamed(file, fd, named))
      this.#add(key, spec)
      return spec
    } finally {
      if (isOurs) fs.closeSync(fd)
    }
  }

  #add(key: string, spec: ImageSpec): void {
    const keeper = new BlobKeepers({ images: [spec] })
    const tally = allocateTally(this.#threads, 1)
    const entry: Entry = { id: this.#next++, spec, tally, key, keeper, users: 1 }
    this.#byKey.set(key, entry)
    this.#bySpec.set(spec, entry)
  }

  /** All images that mounts have. */
  all(): readonly SharedImage[] {
    return [...this.#byKey.values()].map(({ id, spec, tally }) => ({ id, spec, tally }))
  }

  /** The image of a spec that `opener` gave. */
  of(spec: ImageSpec): SharedImage | undefined {
    const entry = this.#bySpec.get(spec)
    return entry && { id: entry.id, spec, tally: entry.tally }
  }

  /** Ends the use of an image by one mount. It stays open until `unused` gives it away. */
  release(spec: ImageSpec): void {
    const entry = this.#bySpec.get(spec)
    if (entry !== undefined) entry.users -= 1
  }

  /**
   * Images that no mount has any more, which nobody finds from now on. Their files are let go at once, because the file
   * system on which they lie may be unmounted next; the numbers of their descriptors stay taken until `close`.
   * @param nothing a descriptor that takes their place
   */
  unused(nothing: number): readonly SharedImage[] {
    const unused = [...this.#byKey.values()].filter(({ users }) => users === 0)
    for (const { key, spec } of unused) {
      this.#byKey.delete(key)
      for (const fd of descriptorsOf(spec)) replaceDescriptor(nothing, fd)
    }
    return unused
  }

  /** Closes the descriptors of an image that `unused` gave. No thread may use it any more. */
  close(id: number): void {
    for (const entry of this.#bySpec.values()) {
      if (entry.id !== id) continue
      this.#bySpec.delete(entry.spec)
      for (const fd of descriptorsOf(entry.spec)) fs.closeSync(fd)
      return
    }
  }

  /** Opens a blob of an image for a thread. @throws FsError that says why it cannot be opened */
  openBlob(id: number, blob: number, wish: BlobWish): void {
    for (const entry of this.#bySpec.values()) {
      if (entry.id === id) entry.keeper.open(0, blob, wish)
    }
  }

  /** A thread has ended: it reads no blob any more. @param thread its `threadId` */
  forgetThread(thread: number): void {
    for (const { keeper } of this.#bySpec.values()) keeper.forgetThread(thread)
  }
}

/**
 * Opens the images of a mount that shares none with others.
 * @param named see `ImageRegistry.opener`
 * @param assertReadable likewise
 */
export function apartOpener(
  named: (path: PathText) => PathText,
  assertReadable: (device: string) => void,
): ImageOpener {
  return {
    open: (file, make) => make(asNamed(file, openReadable(file, assertReadable), named)),
    close: closeImage,
  }
}

function openReadable(file: ImageFile, assertReadable: (device: string) => void): number {
  const fd = file.open?.() ?? fs.openSync(systemPath(file.path), 'r')
  try {
    const { dev } = fs.fstatSync(fd)
    assertReadable(`${majorOf(dev)}:${minorOf(dev)}`)
    return fd
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}

/** What is open already, by names that people know. */
function asNamed(file: ImageFile, fd: number, named: (path: PathText) => PathText): ImageFile {
  return { ...file, label: named(file.label), path: named(file.path), open: () => fd }
}

function descriptorsOf({ source, blobs }: ImageSpec): readonly number[] {
  return [source.fd, ...(blobs === undefined ? [] : blobDescriptors(blobs))]
}

/** All that is known of an image, and which file it is. */
function keyOf(file: ImageFile, fd: number, named: (path: PathText) => PathText): string {
  const known = JSON.stringify(file, (_, value: unknown) =>
    typeof value === 'string' ? named(value) : value,
  )
  const { dev, ino, size, mtimeNs, ctimeNs, rdev } = fs.fstatSync(fd, { bigint: true })
  return [known, dev, ino, size, mtimeNs, ctimeNs, rdev].join(' ')
}
