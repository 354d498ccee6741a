import { closeSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { surveyLayers } from '../../../overlay/index.ts'
import type { NamedSource } from '../../base/index.ts'
import { openLayerStack } from '../open.ts'
import { resolveMolecule } from '../resolve.ts'
import { namedSource, withOffset } from '../source.ts'
import { layerDescriptors } from '../spec.ts'
import { type SizeNode, SizeTree } from './size-tree.ts'
import { UsageCounter } from './usage-counter.ts'
import type { ImageUsage } from './usage-report.ts'

/** What is to be counted. */
export interface UsageRequest {
  /** As on the command line, or one that is not read as text any more. */
  readonly source: string | NamedSource
  /** Byte position of the image in its file. */
  readonly offset?: number | undefined
  /** How many of the largest files and directories are wanted. */
  readonly top: number
  /** Bounds of the tree of sizes (`SizeTree`); absent where none is wanted. */
  readonly tree?: { readonly cost: number; readonly layers: number } | undefined
}

/** What was counted. */
export interface MeasuredUsage {
  readonly usage: ImageUsage
  readonly tree?: SizeNode
}

/**
 * Counts what each layer of a source adds, replaces and hides, by a walk over all that the layers hold. Memory is bounded
 * whatever the number of names, and the rest of the program runs meanwhile. Layers are read through verification where
 * they have a root hash. What cannot be read is counted and passed over.
 * @param onProgress gets the number of names so far
 * @throws FsError where the source cannot be opened; E2BIG for more than 67 million names
 */
export async function measureUsage(
  request: UsageRequest,
  onProgress: (names: number) => void = () => undefined,
): Promise<MeasuredUsage> {
  const [named, name] = namedSource(request.source)
  const source = withOffset(named, request.offset)
  const spec = resolveMolecule({ source, name, allowMissingVerity: true, verify: 'lazy', options: {} })
  try {
    const stack = openLayerStack(spec)
    try {
      const { layers } = stack
      const counted = layers.map((layer, index) => ({
        label: layer.label,
        repeated: layers.lastIndexOf(layer) !== index,
      }))
      const { tree: wish } = request
      const tree = wish && new SizeTree(wish.cost, Math.max(0, layers.length - wish.layers))
      const counter = new UsageCounter(counted, request.top, tree)
      for (const names of surveyLayers(layers, counter)) {
        onProgress(names)
        await setImmediate()
      }
      return { usage: counter.report, ...(tree === undefined ? {} : { tree: tree.finish() }) }
    } finally {
      stack.close()
    }
  } finally {
    for (const fd of new Set(layerDescriptors(spec))) closeSync(fd)
  }
}
