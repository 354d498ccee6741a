import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { appendVerity, type Compressor, mksquashfs } from '../../test/library/images/images.ts'
import { makeLuks } from '../../test/library/images/luks.ts'
import { writeOciLayout } from '../../test/library/images/oci-layout.ts'
import { buildAttributes } from './attributes.ts'
import type { InputCache } from './cache.ts'
import type { Subject, TreeFacts, WriteFacts } from './facts.ts'
import { buildGenerated, type GeneratedShape } from './generated.ts'
import { splitIntoLayers } from './layers.ts'
import { buildMetadata, buildPair, metadataOf, type PuzzlefsForm } from './puzzlefs.ts'
import { digestAfterWrites } from './random-writes.ts'
import { buildLargeSif, buildOverlaySif } from './sif.ts'
import { buildTarPair } from './tar-layers.ts'
import { buildTree, type TreeShape } from './tree.ts'
import { buildArchive, buildLargeFile, findMerged } from './writes.ts'

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
/** As a whole `/usr/share`: 57 000 names and 700 MB. */
const SHARE: TreeShape = { entries: 57_000, manyBytes: 720 * MIB, totalBytes: 720 * MIB, bigBytes: 0 }
/** Chunks of an image of that size. */
const CHUNKS = 7400
/** Beside that tree in an image of 2 GB. */
const LARGE_FILE = 1800 * MIB
const SHAPES = { tree: FULL, small: SMALL, share: SHARE }

/** What is written where a mount is writable; multiples of a block of 4 KiB. */
const WRITES = {
  smallFiles: 20_000,
  largeFile: 500_000_000,
  sequential: 1024 * MIB,
  randomFile: 256 * MIB,
  /** Without and with fsync(2), which takes the disk its time. */
  randomWrites: 20_000,
  syncedWrites: 20_000,
}

export type TreeName = keyof typeof SHAPES

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
    return { images: [image], unverified: image, facts, tree: this.#cache.path(tree) }
  }

  /** The same image encrypted as cryptsetup does it. @param sectorSize bytes */
  async encrypted(sectorSize: 512 | 4096): Promise<Subject> {
    const { facts, unverified: squashfs } = await this.image('tree', 'zstd')
    const name = `encrypted-${sectorSize}`
    const image = this.#cache.path(`${name}.luks`)
    const passphraseFile = this.#cache.path(`${name}.key`)
    await this.#cache.get(name, async () => {
      writeFileSync(passphraseFile, 'passphrase')
      writeFileSync(image, makeLuks({ plain: readFileSync(squashfs), passphrase: 'passphrase', sectorSize }))
      return {}
    })
    return { images: [], unverified: image, squashfs, passphraseFile, facts }
  }

  /** The tree and a large file as a SIF, and as the squashfs image in it. Nothing of it is read but what a mount reads. */
  async largeSif(): Promise<Subject> {
    const facts = await this.#tree('tree')
    const place = this.#cache.path('sif-large')
    const sif = await this.#cache.get('sif-large', async () => {
      this.#cache.discard('sif-large')
      return await buildLargeSif(this.#cache.path('tree'), place, this.#scaled(LARGE_FILE))
    })
    return { images: [], unverified: `${place}/sif`, squashfs: `${place}/squashfs`, sif, facts }
  }

  /** The tree as a SIF of a primary partition and an ext3 overlay, which show it together. */
  async overlaySif(): Promise<Subject> {
    const facts = await this.#tree('tree')
    const place = this.#cache.path('sif-overlay')
    const sif = await this.#cache.get('sif-overlay', async () => {
      this.#cache.discard('sif-overlay')
      const places = await buildOverlaySif(this.#cache.path('tree'), place)
      this.#cache.discard('sif-overlay/work')
      return places
    })
    return { images: [], unverified: `${place}/sif`, sif, facts }
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

  /** The tree as an image of one layer, an archive compressed with gzip, and as a squashfs image with a root hash. */
  async tarLayers(): Promise<Subject> {
    const facts = await this.#tree('tree')
    const place = this.#cache.path('tar-layers')
    const { source, squashfs, ...tar } = await this.#cache.get('tar-layers', async () => {
      this.#cache.discard('tar-layers')
      return await buildTarPair(this.#cache.path('tree'), place)
    })
    const store = `${place}/store`
    mkdirSync(store, { recursive: true })
    return { images: [], verified: source, unverified: source, squashfs, tar, store, facts }
  }

  /** One tree as a PuzzleFS image and as a squashfs image with a root hash. */
  async puzzlefs(form: PuzzlefsForm): Promise<Subject> {
    const facts = await this.#tree('share')
    const name = `puzzlefs-${form}`
    const place = this.#cache.path(name)
    await this.#cache.get(name, async () => {
      this.#cache.discard(name)
      await buildPair(this.#cache.path('share'), place, form)
      return {}
    })
    const source = `${place}/puzzlefs:image`
    const metadata = metadataOf(`${place}/puzzlefs`)
    return {
      images: [],
      verified: source,
      unverified: source,
      squashfs: `${place}/squashfs:image`,
      metadata,
      facts,
    }
  }

  /** A PuzzleFS image of which nothing but the metadata is there; its manifest does not grow. @param thousands inodes */
  async puzzlefsMetadata(thousands: number): Promise<Subject> {
    const files = Math.ceil(thousands * 1000 * this.#scale)
    const place = this.#cache.path(`puzzlefs-metadata-${files}`)
    const facts = await this.#cache.get(`puzzlefs-metadata-${files}`, async () =>
      buildMetadata(place, files, this.#scaled(CHUNKS)),
    )
    const source = `${place}:image`
    return { images: [], verified: source, unverified: source, metadata: metadataOf(place), facts }
  }

  /** One directory of 100 000 names. */
  async wide(): Promise<Subject> {
    return await this.#generated({ directories: 1, files: Math.round(100_000 * this.#scale) })
  }

  /** @param thousands files in all, in directories of 1000 */
  async many(thousands: number): Promise<Subject> {
    return await this.#generated({ directories: Math.ceil(thousands * this.#scale), files: 1000 })
  }

  /** 20 000 small files, with extended attributes or without any. */
  async attributes(withAttributes: boolean): Promise<Subject> {
    const directories = Math.max(2, Math.round(200 * this.#scale))
    const name = `attributes-${withAttributes ? 'some' : 'none'}-${directories}`
    const image = this.#cache.path(`${name}.squashfs`)
    const facts = await this.#cache.get(name, () => buildAttributes(image, directories, withAttributes))
    return { images: [image], unverified: image, facts }
  }

  /** One large file that will be changed. */
  async largeFile(): Promise<Subject> {
    const image = this.#cache.path('large-file.squashfs')
    const bytes = this.#scaled(WRITES.largeFile)
    const facts = await this.#cache.get('large-file', () => buildLargeFile(image, bytes))
    return { images: [image], unverified: image, facts }
  }

  /** Five layers and a number of small files to be written beside them. */
  async smallFiles(): Promise<Subject> {
    return await this.#written({ smallFiles: this.#scaled(WRITES.smallFiles) })
  }

  async sequential(): Promise<Subject> {
    const mebibytes = Math.ceil((WRITES.sequential / MIB) * this.#scale)
    return await this.#written({ sequentialBytes: mebibytes * MIB })
  }

  /** @param fsyncAfter writes, 0 for never */
  async randomWrites(fsyncAfter: number): Promise<Subject> {
    const plan = {
      fileBytes: Math.ceil((WRITES.randomFile / MIB) * this.#scale) * MIB,
      writes: this.#scaled(fsyncAfter === 0 ? WRITES.randomWrites : WRITES.syncedWrites),
      fsyncAfter,
    }
    const name = `random-writes-${plan.writes}`
    const sha256 = await this.#cache.get(name, () => digestAfterWrites(this.#cache.path(name), plan))
    return await this.#written({ random: { ...plan, sha256 } })
  }

  /** Five layers and an archive of the smaller tree to be unpacked beside them. */
  async archive(): Promise<Subject> {
    const facts = await this.#tree('small')
    const path = this.#cache.path('small.tar')
    const archive = await this.#cache.get('small.tar', () =>
      buildArchive(this.#cache.path('small'), path, facts),
    )
    return await this.#written({ archive })
  }

  /** Five layers and a directory of them to be renamed. */
  async moved(): Promise<Subject> {
    await this.#tree('tree')
    const moved = await this.#cache.get('moved', async () => findMerged(this.#cache.path('tree')))
    return await this.#written({ moved })
  }

  async #written(writes: WriteFacts): Promise<Subject> {
    return { ...(await this.layers(5, 'zstd')), writes }
  }

  #scaled(count: number): number {
    return Math.round(count * this.#scale)
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
    const full = SHAPES[name]
    const shape: TreeShape = {
      entries: Math.round(full.entries * this.#scale),
      manyBytes: full.manyBytes * this.#scale,
      totalBytes: full.totalBytes * this.#scale,
      bigBytes: Math.round(full.bigBytes * this.#scale),
    }
    return this.#cache.get(name, () => buildTree(this.#cache.path(name), shape))
  }
}
