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

/** Bound of the upper's inode numbers that become node ids. These ids follow those of all layers. */
const UPPER_IDS = 2 ** 40
/** Number of ids for names of layer files with several names. These ids follow those of the upper. */
const NAME_IDS = 2 ** 50
/** Where the layers have more ids than this, all other ids are counted. */
const MOST_OF_LAYERS = 2 ** 52

/**
 * Ids and generations of the nodes of a writable tree. Those that follow from stored data are the same at every mount,
 * so a handle of an earlier mount leads to the same file (docs/adr/0025-handles-of-files.md).
 */
export class LastingIds {
  readonly #layers: NodeIds
  /** First id made of an inode number of the upper. */
  readonly #upperIds: NodeId
  /** First id of a name. */
  readonly #nameIds: NodeId
  /** First counted id. Counted ids follow from no stored data. */
  readonly #countedIds: NodeId
  #nextId: NodeId
  /** The part of the upper in generations. */
  readonly #upperPlace: number
  /** Generation of nodes whose id may be that of another file at the next mount. */
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

  /** The id of an inode of the layers. */
  ofPart({ layer, ref }: Part): NodeId {
    return this.#layers.encode(layer, ref, false)
  }

  /** The inode of the layers that has this id. @throws FsError ESTALE */
  partOf(id: NodeId): Part {
    const { layer, ref } = this.#layers.decode(id)
    return { layer, ref }
  }

  /**
   * The id of one name of an inode of the layers.
   * @param parent id of its directory
   * @returns undefined where the next mount would give another one
   */
  ofName(part: Part, parent: NodeId, name: Name): NodeId | undefined {
    if (this.#nameIds === this.#countedIds || !this.isLasting(parent)) return undefined
    const words = [this.ofPart(part), parent, ...Buffer.from(name, 'latin1')]
    const high = fingerprint(words) % (NAME_IDS / 2 ** 32)
    return this.#nameIds + high * 2 ** 32 + fingerprint([0, ...words])
  }

  /** The id of an inode of the upper. @returns undefined for a number that is too large */
  ofUpper(ino: HostInode): NodeId | undefined {
    const isOne = typeof ino === 'number' && ino < this.#nameIds - this.#upperIds
    return isOne ? this.#upperIds + ino : undefined
  }

  /** The next counted id: this mount has never given it. @throws FsError EOVERFLOW */
  count(): NodeId {
    const id = this.#nextId
    if (id >= Number.MAX_SAFE_INTEGER) throw new FsError('EOVERFLOW', 'node ids exceed 2^53')
    this.#nextId += 1
    return id
  }

  /** True where a node has the same id at later mounts. */
  isLasting(id: NodeId): boolean {
    return id < this.#countedIds
  }

  /** True where a node of this or of a later mount can have the id. */
  mayExist(id: NodeId): boolean {
    return id === ROOT_NODE_ID || this.#layers.has(id) || (id >= this.#upperIds && id < this.#countedIds)
  }

  /**
   * The generation of a node, 32 bits. Id and generation are its handle: no other file has both, at this mount or
   * later. It stays the same while the kernel knows the node, also when its file is copied up.
   * @param part the node's inode in the layers, if it has one
   * @param stat attributes of the node
   */
  generation(id: NodeId, part: Part | undefined, { btime, btimeNsec = 0 }: Stat): number {
    if (id === ROOT_NODE_ID) return 0
    if (!this.isLasting(id)) return this.#mountGeneration
    if (part !== undefined && (id < this.#upperIds || id >= this.#nameIds)) {
      return unlessFailed(() => this.#layers.generation(part.layer, part.ref)) ?? this.#mountGeneration
    }
    // A later file may get the same inode number, but it has a later birth time.
    if (btime === undefined) return this.#mountGeneration
    return (fingerprint([btime, btimeNsec]) ^ this.#upperPlace) >>> 0
  }
}
