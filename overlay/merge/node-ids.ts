import { FsError, fingerprint, type NodeId } from '../../src/base/index.ts'
import type { Layer, Ref } from '../stored/layer-flags.ts'

/** Ids below this are left for the root and for whatever the protocol may reserve one day. */
const FIRST_NODE_ID: NodeId = 16

export interface DecodedNodeId {
  /** Index of the layer, bottom 0. */
  readonly layer: number
  readonly ref: Ref
  /** True for a directory put together from two layers or more, named after its topmost part. */
  readonly merged: boolean
}

/**
 * Node ids by arithmetic: each layer has a range of twice its `refSpan`, so that neither the kernel's inode cache
 * nor the size of the image costs any memory here, and a restarted server gives the same ids.
 */
export class NodeIds {
  readonly #layers: readonly Layer[]
  /** `#bases[i]` is where layer i begins; one more entry for the end. */
  readonly #bases: readonly number[]
  /** Of each layer: what its place adds to generations. */
  readonly #places: readonly number[]

  /** @throws FsError EOVERFLOW where the layers together need more than 2^53 ids; EINVAL for a senseless span */
  constructor(layers: readonly Layer[]) {
    const bases = [FIRST_NODE_ID]
    let base = FIRST_NODE_ID
    for (const layer of layers) {
      if (!Number.isSafeInteger(layer.refSpan) || layer.refSpan < 1) {
        throw new FsError('EINVAL', `layer ${layer.label}: ${layer.refSpan} is no span of inode references`)
      }
      base += layer.refSpan * 2
      if (base > Number.MAX_SAFE_INTEGER) {
        throw new FsError('EOVERFLOW', `layer ${layer.label}: node ids of the layers up to it exceed 2^53`)
      }
      bases.push(base)
    }
    this.#layers = layers
    this.#bases = bases
    this.#places = bases.map((begin) => fingerprint([begin]))
  }

  /** The first id above those of all layers. */
  get end(): NodeId {
    return this.#bases[this.#bases.length - 1] ?? FIRST_NODE_ID
  }

  /** @throws FsError EIO where the layer gave a reference outside its own span */
  encode(layer: number, ref: Ref, merged: boolean): NodeId {
    const base = this.#bases[layer]
    const owner = this.#layers[layer]
    if (base === undefined || owner === undefined) throw new FsError('ESTALE', `no layer ${layer}`)
    if (!Number.isSafeInteger(ref) || ref < 0 || ref >= owner.refSpan) {
      throw new FsError('EIO', `layer ${owner.label}: inode reference ${ref} outside 0..${owner.refSpan}`)
    }
    return base + ref * 2 + (merged ? 1 : 0)
  }

  /**
   * The generation that goes with the id of an inode: it differs where another layer, or another file, may have the id at a
   * later mount.
   * @returns undefined where the id tells nothing beyond this mount
   */
  generation(layer: number, ref: Ref): number | undefined {
    const own = this.#layers[layer]?.generation?.(ref)
    return own === undefined ? undefined : (own ^ (this.#places[layer] ?? 0)) >>> 0
  }

  /** Whether a layer has the id. */
  has(id: NodeId): boolean {
    return Number.isSafeInteger(id) && id >= FIRST_NODE_ID && id < this.end
  }

  /** @throws FsError ESTALE for an id that no layer has */
  decode(id: NodeId): DecodedNodeId {
    const bases = this.#bases
    let low = 0
    let high = bases.length - 1
    if (!this.has(id)) throw new FsError('ESTALE', `node ${id}: no layer has this id`)
    // Invariant: bases[low] <= id < bases[high].
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((bases[middle] ?? 0) <= id) low = middle
      else high = middle
    }
    const offset = id - (bases[low] ?? 0)
    return { layer: low, ref: Math.floor(offset / 2), merged: offset % 2 === 1 }
  }
}
