import { readTar } from '../../../tar/index.ts'
import { isDirectory, type Name } from '../../base/index.ts'
import { decompressed } from '../decompressed.ts'
import { escapedPath } from '../overlay-form.ts'
import { TarMarks } from '../tar-marks.ts'
import { HashedStream } from './hashed-stream.ts'
import type { TarLayer } from './source-image.ts'

/**
 * Where a layer has a directory of its own, or hides what is below, wherever its archive says so: `out/x` may come before
 * the mark that makes `out` a directory of this layer (image-spec, layer.md, "Whiteouts": "regardless of the ordering").
 * Known once the archive was read to its end, which those do who have to know: most layers are read once only.
 * Memory: the paths of directories and marks.
 */
export class LaterMarks {
  readonly #layer: TarLayer
  readonly #marks = new TarMarks(() => undefined)
  readonly #directories = new Set<Name>()
  #wasRead = false

  constructor(layer: TarLayer) {
    this.#layer = layer
  }

  /** Whether a link of the layers below is not seen through this layer. False as long as the archive was not read. */
  hides(path: Name): boolean {
    return this.#directories.has(path) || this.#marks.isOpaque(path) || this.#marks.covers(path)
  }

  /**
   * Reads the archive, if that was not done.
   * @returns whether it was read now
   * @throws FsError as `readTar`; EIO where its bytes are not those of the layer
   */
  async read(): Promise<boolean> {
    if (this.#wasRead) return false
    this.#wasRead = true
    const { digest, size, label } = this.#layer
    const blob = new HashedStream(this.#layer.open(), { digest, size })
    for await (const entry of readTar(decompressed(blob, label))) {
      if (this.#marks.take(entry) || entry.link !== undefined) continue
      if (isDirectory(entry.mode)) this.#directories.add(escapedPath(entry.path))
    }
    await blob.check('blob')
    return true
  }
}
