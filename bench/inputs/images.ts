import { mkdirSync } from 'node:fs'
import { appendVerity, type Compressor, mksquashfs } from '../../test/support/images.ts'
import { writeOciLayout } from '../../test/support/oci-layout.ts'
import type { InputCache } from './cache.ts'
import type { Subject, TreeFacts } from './facts.ts'
import { buildGenerated, type GeneratedShape } from './generated.ts'
import { splitIntoLayers } from './layers.ts'
import { buildTree, type TreeShape } from './tree.ts'

const MIB = 2 ** 20

/** The documented sizes: 17 000 names and 400 MB, 100 MB of them one file. */
const FULL: TreeShape = {
  entries: 17_000,
  manyBytes: 240 * MIB,
  totalBytes: 290 * MIB,
  bigBytes: 100_000_000,
}
/** For compressors that take long to pack. */
const SMALL: TreeShape = { entries: 6000, manyBytes: 60 * MIB, totalBytes: 80 * MIB, bigBytes: 0 }

export type TreeName = 'tree' | 'small'

/** Every image that a scenario can ask for. Each is built at its first use, and kept. */
export class Inputs {
  readonly #cache: InputCache
  readonly #scale: number

  constructor(cache: InputCache, scale: number) {
    this.#cache = cache
    this.#scale = scale
  }

  /** One squashfs image of a tree, packed with the defaults of mksquashfs. */
  async image(tree: TreeName, compressor: Compressor): Promise<Subject> {
    const facts = await this.#tree(tree)
    const image = this.#cache.path(`${tree}-${compressor}.squashfs`)
    await this.#cache.get(`${tree}-${compressor}`, async () => {
      await mksquashfs(this.#cache.path(tree), image, { compressor, timeout: 900_000, extra: ['-no-xattrs'] })
      return {}
    })
    return { images: [image], unverified: image, facts }
  }

  /** The tree as an OCI image of layers with dm-verity data: tag `verified` with root hashes, `plain` without. */
  async layers(count: number, compressor: Compressor): Promise<Subject> {
    const facts = await this.#tree('tree')
    const name = `layers${count}-${compressor}`
    const ociDir = this.#cache.path(name)
    const images = await this.#cache.get(name, async () => {
      this.#cache.discard(name)
      const work = `${name}.work`
      this.#cache.discard(work)
      const directories = await splitIntoLayers(this.#cache.path('tree'), this.#cache.path(work), count)
      const files: { readonly file: string; readonly rootHash: string }[] = []
      mkdirSync(ociDir)
      for (const [i, directory] of directories.entries()) {
        const file = await mksquashfs(directory, `${ociDir}/layer${i}.squashfs`, {
          compressor,
          timeout: 900_000,
        })
        files.push({ file, rootHash: (await appendVerity(file)).rootHash })
      }
      await writeOciLayout(`${ociDir}/oci`, [
        { tag: 'verified', layers: files },
        { tag: 'plain', layers: files.map(({ file }) => ({ file })) },
      ])
      this.#cache.discard(work)
      return files.map(({ file }) => file)
    })
    return { images, verified: `${ociDir}/oci:verified`, unverified: `${ociDir}/oci:plain`, facts }
  }

  /** One directory of 100 000 names. */
  async wide(): Promise<Subject> {
    return await this.#generated({ directories: 1, files: Math.round(100_000 * this.#scale) })
  }

  /** @param thousands files in all, in directories of 1000 */
  async many(thousands: number): Promise<Subject> {
    return await this.#generated({ directories: Math.ceil(thousands * this.#scale), files: 1000 })
  }

  async #generated(shape: GeneratedShape): Promise<Subject> {
    const name = `generated-${shape.directories}x${shape.files}`
    const image = this.#cache.path(`${name}.squashfs`)
    const facts = await this.#cache.get(name, () => {
      this.#cache.discard(`${name}.squashfs`)
      return buildGenerated(image, shape)
    })
    return { images: [image], unverified: image, facts }
  }

  #tree(name: TreeName): Promise<TreeFacts> {
    const full = name === 'tree' ? FULL : SMALL
    const shape: TreeShape = {
      entries: Math.round(full.entries * this.#scale),
      manyBytes: full.manyBytes * this.#scale,
      totalBytes: full.totalBytes * this.#scale,
      bigBytes: Math.round(full.bigBytes * this.#scale),
    }
    return this.#cache.get(name, () => buildTree(this.#cache.path(name), shape))
  }
}
