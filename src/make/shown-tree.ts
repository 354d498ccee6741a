import { closeSync } from 'node:fs'
import type { NewEntry } from '../../squashfs/write/index.ts'
import { type FoundLayer, isDirectory, type Name } from '../base/index.ts'
import { layerDescriptors, moleculeOf, type OpenMolecule, openMolecule } from '../molecule/index.ts'
import { MergedEntries, type ShownFile } from './merged-entries.ts'
import type { LeftOut, TreeItem } from './tree-item.ts'

/** What a tree is for: one more layer, another image, or a format of its own. */
export type TreeForm = 'merged' | 'stored' | 'shown' | 'shown alone'

/** The tree that a mount of some images would show. */
export class ShownTree {
  readonly #molecule: OpenMolecule
  readonly #entries: MergedEntries
  readonly #closeFiles: () => void
  /** What was found last, with all that lies above it. */
  readonly #way: { readonly name: Name; readonly file: ShownFile }[] = []

  /**
   * @param images bottom first
   * @param form `merged`: layers, whose marks are carried out. What is data, and looks like a mark, is escaped in the
   *   items, which are for a layer again. `stored`: one image, as it is. `shown`: layers, as a mount shows them, with all
   *   attributes; `shown alone`: likewise one image that is no layer
   * @param leftOut counts attributes that no image has
   * @throws FsError EIO, EINVAL for what is no image; nothing stays open then
   */
  constructor(images: readonly FoundLayer[], form: TreeForm, leftOut?: LeftOut) {
    const spec = moleculeOf(images, form === 'stored' || form === 'shown alone')
    this.#closeFiles = () => {
      for (const fd of new Set(layerDescriptors(spec))) closeSync(fd)
    }
    try {
      this.#molecule = openMolecule(spec)
    } catch (error) {
      this.#closeFiles()
      throw error
    }
    const { fileSystem, store } = this.#molecule
    this.#entries = new MergedEntries(fileSystem, store, {
      form: form === 'merged' ? 'layer' : form === 'stored' ? 'stored' : 'whole',
      ...(leftOut && { leftOut }),
    })
  }

  close(): void {
    this.#molecule.closeLayers()
    this.#closeFiles()
  }

  /**
   * Begins where it has been last time, as far as that is the same way: paths of thousands of names are looked up name by
   * name, each after the one before.
   * @param names as the tree shows them. @returns undefined where there is nothing
   */
  find(names: readonly Name[]): ShownFile | undefined {
    const way = this.#way
    let depth = 0
    while (depth < way.length && depth < names.length && way[depth]?.name === names[depth]) depth += 1
    way.length = depth
    let found: ShownFile = way.at(-1)?.file ?? this.#entries.root
    for (const name of names.slice(depth)) {
      if (!isDirectory(found.stat.mode)) return undefined
      const next = this.#molecule.fileSystem.lookup(found.nodeId, name)
      if (next === undefined) return undefined
      way.push({ name, file: next })
      found = next
    }
    return found
  }

  /** The file as an image gets it. @param path for messages */
  entryOf(file: ShownFile, path: Name): NewEntry {
    return this.#entries.entry({ path, ...file })
  }

  /** All of the tree, a directory before what it holds. @throws FsError EIO, with the path */
  items(): Generator<TreeItem> {
    return this.#entries.items()
  }
}
