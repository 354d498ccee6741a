import { isDirectory, isRegular, ResumableWalks, unlessFailed } from '../../src/base/index.ts'
import type { FileMaps } from '../chunks/file-map.ts'
import type { StructList } from '../message/message.ts'
import type { Inode } from '../rootfs/inode.ts'
import type { InodeTable } from '../rootfs/inode-table.ts'
import type { Rootfs } from '../rootfs/rootfs.ts'
import { nameAt, numberAt } from './entries.ts'

/** Entries, or inodes, after which others get their turn. */
const AT_ONCE = 256
/** Unit in which the size of the whole is given, bytes. */
export const UNIT = 4096

/** Memory for each inode once links are counted, bytes. */
const BYTES_A_COUNT = 4

/** A directory of which some entries are counted. */
interface Place {
  readonly ref: number
  readonly list: StructList
  next: number
}

/** What the whole image has. */
export interface Totals {
  /** Inodes that can be reached. */
  readonly files: number
  /** Data of all files, each rounded up, in units of `UNIT`. */
  readonly units: number
}

/**
 * Numbers of links, which no inode has. That of a directory is counted in its own list, so that the first look at a mount
 * does not take longer for a larger image. For all others the names of all directories that can be reached are counted once,
 * when the first of them is wanted.
 */
export class Links {
  readonly #rootfs: Rootfs
  readonly #table: InodeTable
  readonly #maps: FileMaps
  readonly #pause: () => void
  /** Of a file its names; of a directory its own directories and 1. By references. */
  #counts = new Uint32Array(0)
  #isCounted = false
  /** Directories under way; undefined before the count begins. */
  #open: Place[] | undefined
  #counted = 0
  /** Names that no file can have. */
  #hidden = 0
  readonly #warn: (message: string) => void
  readonly #walks = new ResumableWalks<Place & { found: number }, number>()
  #totals: { at: number; files: number; units: number } = { at: 0, files: 0, units: 0 }

  /** @param warn told once, after the count, of names that are not shown */
  constructor(
    rootfs: Rootfs,
    table: InodeTable,
    maps: FileMaps,
    pause: () => void,
    warn: (message: string) => void,
  ) {
    this.#rootfs = rootfs
    this.#table = table
    this.#maps = maps
    this.#pause = pause
    this.#warn = warn
  }

  /** A line about names that are not shown; undefined where there are none. @throws as `of` */
  remark(root: number): string | undefined {
    this.#count(root)
    return this.#hidden === 0 ? undefined : `${this.#hidden} names that no file can have are not shown`
  }

  /** @param root reference of the root directory. @throws FsError EIO; Postponed, and can then go on */
  of(ref: number, root: number): number {
    const inode = this.#table.read(ref)
    if (isDirectory(inode.mode) && !this.#isCounted) return 2 + this.#directoriesIn(inode)
    this.#count(root)
    const count = this.#counts[ref] ?? 0
    return isDirectory(inode.mode) ? count + 1 : Math.max(1, count)
  }

  #directoriesIn({ ref, list, looksBelow }: Inode): number {
    if (looksBelow) return 0
    return this.#walks.run(
      () => `${ref}`,
      () => ({ ref, list, next: 0, found: 0 }),
      (walk) => {
        for (; walk.next < list.count; walk.next++) {
          if (walk.next % AT_ONCE === AT_ONCE - 1) this.#pause()
          const child = this.#leadsTo(walk)
          if (child !== undefined && isDirectory(this.#table.type(child))) walk.found += 1
        }
        return walk.found
      },
    )
  }

  /** Likewise. */
  totals(root: number): Totals {
    this.#count(root)
    const totals = this.#totals
    for (; totals.at < this.#counts.length; totals.at++) {
      if (totals.at % AT_ONCE === AT_ONCE - 1) this.#pause()
      if (this.#counts[totals.at] === 0) continue
      const size = unlessFailed(() => this.#sizeOf(totals.at)) ?? 0
      totals.files += 1
      totals.units += Math.ceil(size / UNIT)
    }
    return totals
  }

  #sizeOf(ref: number): number {
    const inode = this.#table.read(ref)
    return isRegular(inode.mode) ? this.#maps.size(inode) : 0
  }

  #count(root: number): void {
    if (this.#isCounted) return
    if (this.#open === undefined) {
      this.#open = []
      this.#counts = new Uint32Array(new ArrayBuffer(this.#rootfs.inodeCount * BYTES_A_COUNT))
      this.#enter(root)
    }
    for (let place = this.#open.at(-1); place !== undefined; place = this.#open.at(-1)) {
      if (place.next >= place.list.count) {
        this.#open.pop()
        continue
      }
      if (this.#counted % AT_ONCE === AT_ONCE - 1) this.#pause()
      // Lists that several directories share can claim more names than anybody can count.
      if (this.#counted > this.#rootfs.message.budget) {
        this.#open.length = 0
        break
      }
      const ref = this.#leadsTo(place, () => {
        this.#hidden += 1
      })
      place.next += 1
      this.#counted += 1
      if (ref === undefined) continue
      const isFolder = isDirectory(this.#table.type(ref))
      const owner = isFolder ? place.ref : ref
      this.#counts[owner] = (this.#counts[owner] ?? 0) + 1
      if (isFolder && this.#counts[ref] === 0) this.#enter(ref)
    }
    this.#isCounted = true
    const remark = this.remark(root)
    if (remark !== undefined) this.#warn(remark)
  }

  /** The inode of the next entry; undefined for one that is not shown. @param onHidden called for a name that is not */
  #leadsTo({ list, next }: Place, onHidden: () => void = () => {}): number | undefined {
    const { message } = this.#rootfs
    return unlessFailed(() => {
      if (nameAt(message, list, next) === undefined) {
        onHidden()
        return undefined
      }
      const ref = this.#table.find(numberAt(message, list, next))
      return ref < 0 || this.#table.type(ref) === 0 ? undefined : ref
    })
  }

  /** A directory that cannot be read, or is not shown, is as one without entries. */
  #enter(ref: number): void {
    this.#counts[ref] = 1
    const inode = unlessFailed(() => this.#table.read(ref))
    if (inode !== undefined && !inode.looksBelow) this.#open?.push({ ref, list: inode.list, next: 0 })
  }
}
