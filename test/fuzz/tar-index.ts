import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Blobs, ExtentReader, FsError, isDirectory, isRegular, isSymlink } from '../../src/base/index.ts'
import { buildIndex } from '../../tar/index.ts'
import { TAR } from '../../tar/kind.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { pax } from '../library/images/tar-special.ts'
import { tarEnd, tarEntry } from '../library/index.ts'
import { sha256 } from '../tar/index-scene.ts'
import type { FuzzTarget } from './driver.ts'

const FILE = { type: 'file', mode: 0o644, uid: 1, mtime: 5 } as const
const ARCHIVE = Buffer.concat([
  tarEntry({ ...FILE, path: 'dir/f', content: 'some content '.repeat(500) }),
  tarEntry({ ...FILE, path: 'hard', type: 'link', target: 'dir/f' }),
  tarEntry({ ...FILE, path: '.wh.gone' }),
  tarEntry({ ...FILE, path: 'dir/.wh..wh..opq' }),
  pax('SCHILY.xattr.user.a=1', 'SCHILY.xattr.user.b=22'),
  tarEntry({ ...FILE, path: 'g' }),
  pax('GNU.sparse.size=9', 'GNU.sparse.name=sparse', 'GNU.sparse.map=2,1,5,2'),
  tarEntry({ ...FILE, path: '@', content: 'abc' }),
  tarEnd(),
])
const BLOBS = { plain: ARCHIVE, gzip: gzipSync(ARCHIVE) }
/** Names that are looked at, and bytes of each file: a damaged tree may be endless. */
const NAMES = 200
const BYTES = 1 << 16

/** The index of a blob, without the hash tree over it: nothing vouches for its bytes then. */
async function indexOf(blob: Buffer): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'tar-fuzz-'))
  const fds: number[] = []
  try {
    writeFileSync(join(folder, 'blob'), blob)
    for (const [name, flags] of [
      ['blob', 'r'],
      ['index', 'w+'],
    ] as const) {
      fds.push(openSync(join(folder, name), flags))
    }
    const [fd = -1, output = -1] = fds
    await buildIndex({ fd, size: blob.length, digest: sha256(blob), label: 'layer' }, output)
    const bytes = readFileSync(join(folder, 'index'))
    return bytes.subarray(0, TAR.describe(memorySource(bytes)).bytesUsed)
  } finally {
    for (const fd of fds) closeSync(fd)
    rmSync(folder, { recursive: true })
  }
}

const SAMPLES = new Map<keyof typeof BLOBS, Buffer>()
for (const [form, blob] of Object.entries(BLOBS)) SAMPLES.set(form as keyof typeof BLOBS, await indexOf(blob))

/** All that can be asked of an index and of its blob. */
function walk(bytes: Uint8Array, blob: Buffer): void {
  const source = memorySource(bytes)
  const { detail } = TAR.describe(source)
  TAR.blobs?.(source)
  TAR.summarize(source)
  TAR.regions(source)
  const blobs: Blobs = {
    readInto: (_, position, target) => memorySource(blob).readInto(position, target),
    sizeOf: () => blob.length,
    isAtHand: () => true,
    expect: () => {},
  }
  const session = TAR.open({ details: [detail] })
  const image = { source, sourceId: 0, label: 'image', detail, blobs }
  const layer = session.openLayer(image)
  const reader = new ExtentReader(session.openBlocks(image), () => 0, { cacheSize: 0 })
  const waiting = [layer.root]
  for (let names = 0; waiting.length > 0 && names < NAMES; ) {
    const directory = waiting.pop() ?? 0
    const cursor = layer.openDirectory(directory, 0)
    for (let entry = cursor.next(); entry !== undefined && names < NAMES; entry = cursor.next(), names++) {
      layer.lookup(directory, entry.name)
      const { ref } = entry
      const stat = layer.stat(ref)
      for (const name of layer.listxattr(ref)) layer.getxattr(ref, name)
      layer.following?.(ref)
      if (isDirectory(stat.mode)) waiting.push(ref)
      else if (isSymlink(stat.mode)) layer.readlink(ref)
      else if (isRegular(stat.mode)) {
        if (stat.size > 0) seeks(() => layer.seek(ref, 0, 'hole'))
        reader.read(
          (sink) => layer.extents(ref, 0, Math.min(stat.size, BYTES), sink),
          (length) => new Uint8Array(length),
        )
      }
    }
  }
}

/** Nothing to find is no error. */
function seeks(seek: () => number): void {
  try {
    seek()
  } catch (error) {
    if (!(error instanceof FsError) || error.code !== 'ENXIO') throw error
  }
}

/** The tables of an index, as if nobody had hashed them. */
export const TAR_INDEX_TARGETS: readonly FuzzTarget[] = [...SAMPLES].map(([form, sample]) => ({
  name: `index of a tar layer, ${form}`,
  samples: [sample],
  codes: ['EIO', 'EINVAL'],
  run: (bytes) => walk(bytes, BLOBS[form]),
}))
