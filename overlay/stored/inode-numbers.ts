import { FsError } from '../../src/base/index.ts'
import type { HostInode } from '../../src/sys/files/statx.ts'
import type { Layer } from './layer-flags.ts'

/** Programs of 32 bits get EOVERFLOW from stat(2) for a number from here on (fs/stat.c:cp_compat_stat). */
export const NARROW = 2 ** 32

/**
 * Where numbers begin that find no room below 2^32. The ranges do not meet: an image has 2^32 numbers for each layer,
 * and no more layers than descriptors; host numbers are below 2^40, of 1024 file systems at most.
 */
const IMAGES = 2 ** 32
const HOST = 2 ** 50
const STRAY = 2 ** 51
/** No number of a tree lies between here and `UPPER`: `NarrowInodes` has them. */
export const SPILL = 2 ** 51 + 2 ** 50
const UPPER = 2 ** 52

/** Numbers of a host file system below this are shown by arithmetic. */
export const HOST_NUMBERS = 2 ** 40
/** Host file systems whose numbers get ranges of their own. */
const DEVICES = 1024
const PER_LAYER = 2 ** 32

/**
 * The inode numbers that a tree shows: one for each file of all layers and of the upper directory, by arithmetic, so
 * that they cost no memory and are the same at every mount. They stay below 2^32 as long as those of the layers allow
 * it: a layer that counts its inodes has as many numbers as it says, after those of the layers below it; host
 * directories share what follows, and where they lie on several file systems, these take turns.
 */
export class InodeNumbers {
  readonly #layers: readonly Layer[]
  /** Added to the numbers of a layer that counts them; undefined where they would not all fit. */
  readonly #bases: readonly (number | undefined)[]
  /** The only layer: its numbers are shown as they are stored, also if they exceed its count. */
  readonly #alone: boolean
  /** Sum of what the layers count: host numbers follow. */
  readonly #counted: number
  /** Place of each host file system in the turns. */
  readonly #turns: ReadonlyMap<number, number>
  /** Numbers of files of the upper that are those of what they are copies of. */
  readonly #kept = new Map<HostInode, number>()

  /**
   * @param layers bottom first
   * @param upperDevice the file system of the upper directory, where there is one
   * @throws FsError EOVERFLOW for directories of more file systems than can be told apart
   */
  constructor(layers: readonly Layer[], upperDevice?: number) {
    this.#layers = layers
    const turns = new Map<number, number>()
    const bases: (number | undefined)[] = []
    let counted = 0
    this.#alone = layers.length === 1 && upperDevice === undefined
    // A layer that stands again below itself shows nothing there (`rootDirectory`).
    const topmost = new Map(layers.map((layer, index) => [layer, index]))
    for (const [index, layer] of layers.entries()) {
      const { inodes } = layer
      const shows = topmost.get(layer) === index
      const fits = shows && 'count' in inodes && counted + inodes.count < NARROW
      bases.push(fits ? counted : undefined)
      if (fits) counted += inodes.count
      if ('device' in inodes && !turns.has(inodes.device)) turns.set(inodes.device, turns.size)
    }
    if (upperDevice !== undefined && !turns.has(upperDevice)) turns.set(upperDevice, turns.size)
    if (turns.size > DEVICES) {
      throw new FsError(
        'EOVERFLOW',
        `directories of ${turns.size} file systems, inode numbers of ${DEVICES} can be told apart`,
      )
    }
    this.#bases = bases
    this.#counted = counted
    this.#turns = turns
  }

  /**
   * @param index of the layer, bottom 0
   * @param ino number within the layer
   * @throws FsError EIO for a number that no layer may have
   */
  ofLayer(index: number, ino: number): number {
    const layer = this.#layers[index]
    if (layer === undefined) throw new FsError('ESTALE', `no layer ${index}`)
    const { inodes } = layer
    const end = 'count' in inodes ? PER_LAYER : HOST_NUMBERS + PER_LAYER
    if (!Number.isSafeInteger(ino) || ino < 1 || ino >= end) {
      throw new FsError('EIO', `layer ${layer.label}: inode number ${ino} outside 1..${end - 1}`)
    }
    if ('device' in inodes) {
      return ino < HOST_NUMBERS
        ? this.#ofHost(inodes.device, ino)
        : STRAY + index * PER_LAYER + (ino - HOST_NUMBERS)
    }
    if (this.#alone) return ino
    const base = this.#bases[index]
    // What is counted wrongly must not take a number of another layer.
    return base !== undefined && ino <= inodes.count ? base + ino : IMAGES + index * PER_LAYER + ino
  }

  /** @param device of the upper directory. @param ino number that its file system gives; beyond 2^52 they wrap around */
  ofUpper(device: number, ino: HostInode): number {
    const kept = this.#kept.size === 0 ? undefined : this.#kept.get(ino)
    if (kept !== undefined) return kept
    if (typeof ino === 'bigint') return UPPER + Number(ino % BigInt(UPPER))
    return ino < HOST_NUMBERS ? this.#ofHost(device, ino) : UPPER + (ino % UPPER)
  }

  /**
   * A file of the upper has this number as long as the mount: that of a file of the layers, which it hides. What has its
   * place in the upper after it is shown with it, too; no other file is.
   */
  keep(ino: HostInode, shown: number): void {
    this.#kept.set(ino, shown)
  }

  #ofHost(device: number, ino: number): number {
    const turn = this.#turns.get(device)
    if (turn === undefined) throw new FsError('ESTALE', `device ${device} is none of this tree`)
    const taken = ino * this.#turns.size + turn
    const narrow = this.#counted + taken
    return narrow < NARROW ? narrow : HOST + taken
  }
}
