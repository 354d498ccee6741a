import { unescapedFileName } from '../../../overlay/escapes.ts'
import type { NewEntry } from '../../../squashfs/write/index.ts'
import type { FoundLayer, Name } from '../../base/index.ts'
import { ShownTree } from '../shown-tree.ts'

/** The merged layers below one that is being converted: opened when one of their files is asked for. */
export class LowerLayers {
  readonly #images: readonly FoundLayer[]
  #wasAsked = false
  #tree: ShownTree | undefined

  /** @param images bottom first */
  constructor(images: readonly FoundLayer[]) {
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
    this.#tree ??= new ShownTree(this.#images, 'merged')
    const found = this.#tree.find(path === '' ? [] : path.split('/').map(unescapedFileName))
    return found && this.#tree.entryOf(found, path)
  }

  close(): void {
    this.#tree?.close()
    this.#tree = undefined
  }
}
