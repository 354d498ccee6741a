import { FsError, ResumableWalks } from '../../src/base/index.ts'
import type { Inode } from '../metadata/inode.ts'
import type { DirectoryEntry } from './directory-entry.ts'
import type { ListingPoint } from './listing-range.ts'
import type { ListingWalk } from './listing-walk.ts'

/** What the listings of one image share. */
export class ListingHelp {
  /** Called by long walks where they can go on later. @throws Postponed */
  readonly pause: () => void
  /** Walks over entries of one name, by where they began. */
  readonly repeated = new ResumableWalks<ListingWalk, boolean>(false)

  constructor(pause: () => void) {
    this.pause = pause
  }
}

/** The names of one directory in stored order, each name once. */
export class DirectoryListing {
  readonly directory: Inode
  readonly #help: ListingHelp
  #walk: ListingWalk
  // Set where the walk stands on an entry that `next` has not given yet.
  #pending = false

  constructor(walk: ListingWalk, help: ListingHelp) {
    this.directory = walk.directory
    this.#walk = walk
    this.#help = help
  }

  /** Offset in the listing of the entry that `next` will give. */
  get position(): number {
    return this.#pending ? this.#walk.entryStart : this.#walk.position
  }

  /** The latest known header before `position`, from which a listing can be read again. */
  pointBefore(position: number): ListingPoint | undefined {
    return this.#walk.pointBefore(position)
  }

  /** The next entry, or undefined at the end. @throws FsError EIO, Postponed */
  next(): DirectoryEntry | undefined {
    if (!this.#pending) {
      if (!this.#walk.advance()) return undefined
      if (this.#walk.isRepeated && !this.#passRepeated()) return undefined
      this.#pending = true
    }
    const entry = this.#walk.entry()
    this.#pending = false
    return entry
  }

  /** Goes forward until `position` is the next entry. @throws FsError EINVAL where no entry begins there; Postponed */
  seek(position: number): void {
    const walk = this.#walk
    while (walk.position < position && walk.advance()) if (walk.isAtHeader) this.#help.pause()
    if (walk.position !== position) {
      throw new FsError('EINVAL', `${walk.what}: no entry at position ${position}`)
    }
  }

  /** Goes forward to the first entry whose name is `name` or greater. @throws FsError EIO, Postponed */
  seekName(name: Buffer): void {
    const walk = this.#walk
    while (walk.advance()) {
      if (walk.compareName(name) <= 0) {
        this.#pending = true
        return
      }
      if (walk.isAtHeader) this.#help.pause()
    }
  }

  /** @returns false where nothing else follows */
  #passRepeated(): boolean {
    const { ref } = this.directory
    const { position } = this.#walk
    return this.#help.repeated.run(
      () => `${ref}:${position}`,
      () => this.#walk,
      (walk) => {
        this.#walk = walk
        for (;;) {
          if (!walk.advance()) return false
          if (!walk.isRepeated) return true
          if (walk.isAtHeader) this.#help.pause()
        }
      },
    )
  }
}
