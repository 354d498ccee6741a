import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeRootfs, type NewInode } from '../../puzzlefs/write/index.ts'
import { S_IFDIR, S_IFREG } from '../../src/base/index.ts'
import { buildPuzzlefs } from '../../src/make/index.ts'
import { fsVerityDigest } from '../../src/verity/index.ts'
import { appendVerity, mksquashfs } from '../../test/library/images/images.ts'
import {
  createLayout,
  type Descriptor,
  MANIFEST_MEDIA_TYPE,
  putDocument,
  writeIndex,
  writeOciLayout,
} from '../../test/library/images/oci-layout.ts'
import type { TreeFacts } from './facts.ts'

/** Data as they are, or compressed. */
export type PuzzlefsForm = 'raw' | 'zstd'

const TAG = 'image'
const ROOTFS_TYPE = 'application/vnd.puzzlefs.image.rootfs.v1'
const CHUNK_TYPE = 'application/vnd.puzzlefs.image.filedata.v1'
const VERITY_ANNOTATION = 'io.puzzlefsoci.puzzlefs.puzzlefs_verity_root_hash'
const REF_NAME = 'org.opencontainers.image.ref.name'

/** Makes two layouts below `place`, each with one image of the tree: `puzzlefs`, and `squashfs` with a root hash. */
export async function buildPair(tree: string, place: string, form: PuzzlefsForm): Promise<void> {
  mkdirSync(place)
  await buildPuzzlefs(tree, { ociDir: join(place, 'puzzlefs'), tag: TAG }, { compress: form === 'zstd' })
  const raw = form === 'raw' ? ['-noD', '-noF'] : []
  const file = await mksquashfs(tree, join(place, 'image.squashfs'), {
    compressor: 'zstd',
    timeout: 900_000,
    extra: ['-no-xattrs', ...raw],
  })
  const { rootHash } = await appendVerity(file)
  await writeOciLayout(join(place, 'squashfs'), [{ tag: TAG, layers: [{ file, rootHash }] }])
  rmSync(file)
}

/** The metadata blob of the one image of a layout. */
export function metadataOf(ociDir: string): string {
  const blob = (digest: string): string => join(ociDir, 'blobs', digest.replace(':', '/'))
  const { manifests } = JSON.parse(readFileSync(join(ociDir, 'index.json'), 'utf8')) as {
    manifests: readonly Descriptor[]
  }
  const { layers } = JSON.parse(readFileSync(blob(manifests[0]?.digest ?? ''), 'utf8')) as {
    layers: readonly Descriptor[]
  }
  const metadata = layers.find(({ mediaType }) => mediaType === ROOTFS_TYPE)
  if (metadata === undefined) throw new Error(`${ociDir}: no metadata`)
  return blob(metadata.digest)
}

const FILES_IN_DIRECTORY = 1000
const FILE_BYTES = 4000

/**
 * Writes the documents and the metadata of an image that nobody can read files of: there are no chunks.
 * @param count of the chunks that it names
 */
export function buildMetadata(ociDir: string, files: number, count: number): TreeFacts {
  rmSync(ociDir, { recursive: true, force: true })
  createLayout(ociDir)
  const chunks = Array.from({ length: count }, (_, i) => digestOf(`chunk ${i}`))
  const inodes = inodesOf(files, chunks)
  const sorted = [...chunks].sort(Buffer.compare)
  const rootfs = encodeRootfs({ layers: [inodes], chunks: sorted.map((digest) => [digest, digest]) })
  const hex = digestOf(rootfs).toString('hex')
  writeFileSync(join(ociDir, 'blobs/sha256', hex), rootfs)
  const metadata = {
    mediaType: ROOTFS_TYPE,
    digest: `sha256:${hex}`,
    size: rootfs.length,
    annotations: { [VERITY_ANNOTATION]: fsVerityDigest(rootfs) },
  }
  const data = chunks.map((digest) => ({
    mediaType: CHUNK_TYPE,
    digest: `sha256:${digest.toString('hex')}`,
    size: FILE_BYTES,
  }))
  const manifest = {
    schemaVersion: 2,
    config: putDocument(ociDir, 'application/vnd.oci.empty.v1+json', {}),
    layers: [metadata, ...data],
  }
  const descriptor = putDocument(ociDir, MANIFEST_MEDIA_TYPE, manifest)
  writeIndex(ociDir, [{ ...descriptor, annotations: { [REF_NAME]: TAG } }])
  return { entries: inodes.length, tarBytes: 0, contentBytes: 0, readerLists: [], startUps: [] }
}

function inodesOf(files: number, chunks: readonly Buffer[]): readonly NewInode[] {
  const common = { uid: 0, gid: 0, rdev: 0 }
  const directories = Math.ceil(files / FILES_IN_DIRECTORY)
  // The root is 1, then come its directories, then the files of the first one.
  const firstFile = 2 + directories
  const names = Array.from({ length: directories }, (_, i) => [`directory-${i}`, 2 + i] as const)
  const below = names.map(([, ino], i): NewInode => {
    const first = i * FILES_IN_DIRECTORY
    const length = Math.min(FILES_IN_DIRECTORY, files - first)
    const entries = Array.from(
      { length },
      (_, j) => [`file-${first + j}.txt`, firstFile + first + j] as const,
    )
    return { ...common, ino, mode: S_IFDIR | 0o755, entries }
  })
  const content = Array.from({ length: files }, (_, i): NewInode => {
    const digest = chunks[i % chunks.length] ?? Buffer.alloc(32)
    const piece = { digest, offset: 0, length: FILE_BYTES, compressed: false }
    return { ...common, ino: firstFile + i, mode: S_IFREG | 0o644, chunks: [piece] }
  })
  return [{ ...common, ino: 1, mode: S_IFDIR | 0o755, entries: names }, ...below, ...content]
}

function digestOf(content: string | Buffer): Buffer {
  return createHash('sha256').update(content).digest()
}
