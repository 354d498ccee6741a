import { closeSync } from 'node:fs'
import type { NewEntry } from '../../squashfs/write/index.ts'
import {
  type Entry,
  type ImageFile,
  isDirectory,
  type Name,
  type NodeId,
  ROOT_NODE_ID,
} from '../base/index.ts'
import { listDirectory } from '../contents/index.ts'
import { layerDescriptors, moleculeOf, type OpenMolecule, openMolecule } from '../molecule/index.ts'
import { MergedEntries } from './merged-entries.ts'
import { escapedPath } from './overlay-form.ts'
import type { LeftOut, TreeItem } from './tree-item.ts'

/** What is known of a file of a tree. */
export type ShownFile = Pick<Entry, 'nodeId' | 'stat'>

/** The tree that a mount of some images would show. */
export class ShownTree {
  readonly #molecule: OpenMolecule
  readonly #entries: MergedEntries
  readonly #isMerged: boolean
  readonly #closeFiles: () => void

  /**
   * @param images bottom first
   * @param form `merged`: layers, whose marks are carried out. What is data, and looks like a mark, is escaped in the
   *   items, which are for a layer again. `stored`: one image, as it is
   * @param leftOut counts attributes that no image has
   * @throws FsError EIO, EINVAL for what is no image; nothing stays open then
   */
  constructor(images: readonly ImageFile[], form: 'merged' | 'stored', leftOut?: LeftOut) {
    this.#isMerged = form === 'merged'
    const spec = moleculeOf(images, !this.#isMerged)
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
    this.#entries = new MergedEntries(fileSystem, store, leftOut, this.#isMerged)
  }

  close(): void {
    this.#molecule.closeLayers()
    this.#closeFiles()
  }

  /** @param names as the tree shows them. @returns undefined where there is nothing */
  find(names: readonly Name[]): ShownFile | undefined {
    const { fileSystem } = this.#molecule
    let found: ShownFile | undefined = this.#root()
    for (const name of names) {
      if (found === undefined || !isDirectory(found.stat.mode)) return undefined
      found = fileSystem.lookup(found.nodeId, name)
    }
    return found
  }

  /** The file as an image gets it. */
  entryOf({ nodeId }: ShownFile): NewEntry {
    return this.#entries.entry(nodeId)
  }

  /** All of the tree, a directory before what it holds. @throws FsError EIO, with the path */
  *items(): Generator<TreeItem> {
    const root = this.#root()
    yield { path: '', entry: this.entryOf(root) }
    yield* this.#itemsIn(root.nodeId, '', new Map())
  }

  *#itemsIn(directory: NodeId, parent: Name, first: Map<unknown, Name>): Generator<TreeItem> {
    const { fileSystem } = this.#molecule
    for (const listed of listDirectory(fileSystem, directory)) {
      if ('error' in listed) throw listed.error
      const { name, entry: file } = listed
      const stored = this.#isMerged ? escapedPath(name) : name
      const path = parent === '' ? stored : `${parent}/${stored}`
      const { ino, mode, nlink } = file.stat
      const link = nlink > 1 && !isDirectory(mode) ? first.get(ino) : undefined
      if (link !== undefined) yield { path, link }
      else {
        if (nlink > 1) first.set(ino, path)
        yield { path, entry: this.entryOf(file) }
        if (isDirectory(mode)) yield* this.#itemsIn(file.nodeId, path, first)
      }
      fileSystem.forget(file.nodeId, 1)
    }
  }

  #root(): ShownFile {
    return { nodeId: ROOT_NODE_ID, stat: this.#molecule.fileSystem.getattr(ROOT_NODE_ID) }
  }
}
