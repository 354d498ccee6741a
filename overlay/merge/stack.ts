import { FsError, LruCache } from '../../src/base/index.ts'
import { adapted } from '../stored/adapted-layer.ts'
import { InodeNumbers } from '../stored/inode-numbers.ts'
import type { Layer } from '../stored/layer-flags.ts'
import { hasNumberRecords } from '../stored/number-record.ts'
import { type Part, type Parts, rootsOf } from './parts.ts'

export interface Stack {
  /** Bottom first. */
  readonly layers: readonly Layer[]
  readonly inodes: InodeNumbers
  /** Layers, by their index, that were upper directories of ours: copies in them keep the numbers of their originals. */
  readonly copies: ReadonlySet<number>
  /** The roots of the layers, down to an opaque one. */
  readonly roots: Parts
  /** Parts of merged directories (`Directory`) that somebody keeps. What does not fit is found again when it is needed. */
  readonly held: LruCache<object, Parts>
  /** Hard links that are being followed down, one into the other. */
  readonly following: { links: number }
}

/** Bound of `Stack.held`, bytes: more than 10 000 directories of ten layers, or 40 of 4096. */
const HELD_BYTES = 8 << 20

export interface StackOptions {
  /** Bound of what is held of merged directories, bytes. */
  readonly heldBytes?: number | undefined
  /** The file system of the upper directory, where there is one. */
  readonly upperDevice?: number
}

/** @throws FsError EIO; EOVERFLOW as `InodeNumbers` */
export function stackOf(layers: readonly Layer[], options: StackOptions = {}): Stack {
  const { heldBytes = HELD_BYTES, upperDevice } = options
  const known = new Map<Layer, Layer>()
  const own = layers.map((layer) => {
    const one = known.get(layer) ?? adapted(layer)
    known.set(layer, one)
    return one
  })
  const roots = rootsOf(own)
  // Unlike the kernel, which never looks at the attributes of a layer's root: `.wh..wh..opq` may stand there, and
  // tools translate it to the attribute (docs/adr/0004-merge.md).
  roots.cutAtOpaque()
  return {
    layers: own,
    inodes: new InodeNumbers(own, upperDevice),
    copies: new Set(copiesAmong(own)),
    roots,
    held: new LruCache(heldBytes),
    following: { links: 0 },
  }
}

/** The lowest layer has no copies: nothing lies below it. Of images nothing is remembered that is met. */
function copiesAmong(layers: readonly Layer[]): number[] {
  const indexes = [...layers.keys()].slice(1)
  return indexes.filter((index) => {
    const layer = layers[index]
    return layer !== undefined && 'device' in layer.inodes && hasNumberRecords(layer.listxattr(layer.root))
  })
}

/** The number to show for an inode of a layer that is no copy. @throws FsError EIO for one that no layer may have */
export function numberOfPart({ layers, inodes }: Stack, { layer, ref }: Part): number {
  const owner = layers[layer]
  if (owner === undefined) throw new FsError('ESTALE', `no layer ${layer}`)
  return inodes.ofLayer(layer, owner.stat(ref).ino)
}
