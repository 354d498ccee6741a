import { closeSync } from 'node:fs'
import { unescapedFileName } from '../../../overlay/escapes.ts'
import type { NewEntry } from '../../../squashfs/write/index.ts'
import { type Entry, type ImageFile, isDirectory, type Name, ROOT_NODE_ID } from '../../base/index.ts'
import { layerDescriptors, moleculeOf, type OpenMolecule, openMolecule } from '../../molecule/index.ts'
import { MergedEntries } from '../merged-entries.ts'

/** The merged layers below one that is being converted: opened when one of their files is asked for. */
export class LowerLayers {
  readonly #images: readonly ImageFile[]
  #wasAsked = false
  #open: { readonly tree: OpenMolecule; readonly close: () => void } | undefined

  /** @param images bottom first */
  constructor(images: readonly ImageFile[]) {
    this.#images = images
  }

  /** Whether anything depends on what the layers have, or have not. */
  get wasAsked(): boolean {
    return this.#wasAsked
  }

  /**
   * What a mount of the layers would show at a path, as it is stored in one more layer above them.
   * @param path as it is stored
   * @returns undefined where there is nothing
   * @throws FsError EIO for damage
   */
  entry(path: Name): NewEntry | undefined {
    if (this.#images.length === 0) return undefined
    this.#wasAsked = true
    const { fileSystem, store } = this.#tree()
    let found: Pick<Entry, 'nodeId' | 'stat'> | undefined = {
      nodeId: ROOT_NODE_ID,
      stat: fileSystem.getattr(ROOT_NODE_ID),
    }
    for (const name of path === '' ? [] : path.split('/')) {
      if (found === undefined || !isDirectory(found.stat.mode)) return undefined
      found = fileSystem.lookup(found.nodeId, unescapedFileName(name))
    }
    if (found === undefined) return undefined
    return new MergedEntries(fileSystem, store).entry(found.nodeId)
  }

  close(): void {
    this.#open?.close()
    this.#open = undefined
  }

  #tree(): OpenMolecule {
    if (this.#open !== undefined) return this.#open.tree
    const spec = moleculeOf(this.#images, false)
    const closeFiles = (): void => {
      for (const fd of new Set(layerDescriptors(spec))) closeSync(fd)
    }
    try {
      const tree = openMolecule(spec)
      const close = (): void => {
        tree.closeLayers()
        closeFiles()
      }
      this.#open = { tree, close }
      return tree
    } catch (error) {
      closeFiles()
      throw error
    }
  }
}
