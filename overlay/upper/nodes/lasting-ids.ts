import {
  FsError,
  fingerprint,
  type Name,
  type NodeId,
  ROOT_NODE_ID,
  type Stat,
  unlessFailed,
} from '../../../src/base/index.ts'
import type { HostInode } from '../../../src/sys/files/statx.ts'
import type { Part } from '../../merge/directory.ts'
import { NodeIds } from '../../merge/node-ids.ts'
import type { Layer } from '../../stored/layer-flags.ts'

/** Inode numbers of the upper below this are node ids, after those of all layers. */
const UPPER_IDS = 2 ** 40
/** Then come ids for each name of a file below that has several. */
const NAME_IDS = 2 ** 50
/** Where the layers have more ids than that, all those that are not theirs are counted. */
const MOST_OF_LAYERS = 2 ** 52

/**
 * Ids and generations of the nodes of a writable tree. As far as they follow from what is stored, they are the same at
 * every mount, and a handle of an earlier mount leads to the same file (docs/adr/0025-handles-of-files.md).
 */
export class LastingIds {
  readonly #layers: NodeIds
  /** Where ids by inode numbers of the upper begin. */
  readonly #upperIds: NodeId
  /** Where ids of names begin. */
  readonly #nameIds: NodeId
  /** Ids that follow from nothing are counted from here. */
  readonly #countedIds: NodeId
  #nextId: NodeId
  /** What the upper adds to generations. */
  readonly #upperPlace: number
  /** Of nodes whose id may be another file's at the next mount. */
  readonly #mountGeneration = Math.floor(Math.random() * 2 ** 32)

  /** @throws FsError as `NodeIds` */
  constructor(layers: readonly Layer[]) {
    this.#layers = new NodeIds(layers)
    this.#upperIds = this.#layers.end
    const isRoomy = this.#upperIds <= MOST_OF_LAYERS
    this.#nameIds = this.#upperIds + (isRoomy ? UPPER_IDS : 0)
    this.#countedIds = this.#nameIds + (isRoomy ? NAME_IDS : 0)
    this.#nextId = this.#countedIds
    this.#upperPlace = fingerprint([this.#upperIds, UPPER_IDS])
  }

  /** The id of what lies below. */
  ofPart({ layer, ref }: Part): NodeId {
    return this.#layers.encode(layer, ref, false)
  }

  /** The inode below that has this id. @throws FsError ESTALE */
  partOf(id: NodeId): Part {
    const { layer, ref } = this.#layers.decode(id)
    return { layer, ref }
  }

  /**
   * The id of one name of what lies below.
   * @param parent id of its directory
   * @returns undefined where it would be another one at the next mount
   */
  ofName(part: Part, parent: NodeId, name: Name): NodeId | undefined {
    if (this.#nameIds === this.#countedIds || !this.isLasting(parent)) return undefined
    const words = [this.ofPart(part), parent, ...Buffer.from(name, 'latin1')]
    const high = fingerprint(words) % (NAME_IDS / 2 ** 32)
    return this.#nameIds + high * 2 ** 32 + fingerprint([0, ...words])
  }

  /** The id of an inode of the upper. @returns undefined for numbers that are too large */
  ofUpper(ino: HostInode): NodeId | undefined {
    const isOne = typeof ino === 'number' && ino < this.#nameIds - this.#upperIds
    return isOne ? this.#upperIds + ino : undefined
  }

  /** An id that was never given in this mount. @throws FsError EOVERFLOW */
  count(): NodeId {
    const id = this.#nextId
    if (id >= Number.MAX_SAFE_INTEGER) throw new FsError('EOVERFLOW', 'node ids exceed 2^53')
    this.#nextId += 1
    return id
  }

  /** Whether a node has the same id at later mounts. */
  isLasting(id: NodeId): boolean {
    return id < this.#countedIds
  }

  /** Whether a node of this or of a later mount can have the id. */
  mayExist(id: NodeId): boolean {
    return id === ROOT_NODE_ID || this.#layers.has(id) || (id >= this.#upperIds && id < this.#countedIds)
  }

  /**
   * With the id it is the handle of a node: no other file has both, at this mount or later. 32 bits. The same as long as the
   * kernel knows the node, also when its file is copied up.
   * @param part what lies below the node, if there is something
   * @param stat of the node
   */
  generation(id: NodeId, part: Part | undefined, { btime, btimeNsec = 0 }: Stat): number {
    if (id === ROOT_NODE_ID) return 0
    if (!this.isLasting(id)) return this.#mountGeneration
    if (part !== undefined && (id < this.#upperIds || id >= this.#nameIds)) {
      return unlessFailed(() => this.#layers.generation(part.layer, part.ref)) ?? this.#mountGeneration
    }
    // Its inode number may be that of another file later, which is born later.
    if (btime === undefined) return this.#mountGeneration
    return (fingerprint([btime, btimeNsec]) ^ this.#upperPlace) >>> 0
  }
}
