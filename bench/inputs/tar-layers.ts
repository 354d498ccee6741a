import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { appendVerity, mksquashfs } from '../../test/library/images/images.ts'
import { writeOciLayout } from '../../test/library/images/oci-layout.ts'
import { writeTarImage } from '../../test/library/images/tar-image.ts'

const TAG = 'image'
const MOST = 2 ** 30

/** An image of one tar layer, and the same tree as a squashfs image with a root hash. */
export interface TarPair {
  readonly source: string
  readonly squashfs: string
  /** The compressed archive. */
  readonly blob: string
  /** Names in it, and bytes of all of them without the directories that they are in. */
  readonly names: number
  readonly nameBytes: number
}

/** Makes both images of a tree below `place`; gzip with the usual level in both. */
export async function buildTarPair(tree: string, place: string): Promise<TarPair> {
  mkdirSync(place)
  const archive = execFileSync('tar', ['--format=posix', '--sort=name', '-C', tree, '-cf', '-', '.'], {
    maxBuffer: MOST,
  })
  const compress = (input: Buffer): Buffer => execFileSync('gzip', ['-6'], { input, maxBuffer: MOST })
  writeTarImage(join(place, 'tar'), { tag: TAG, layers: [archive], compress })
  const file = await mksquashfs(tree, join(place, 'image.squashfs'), {
    compressor: 'gzip',
    timeout: 900_000,
    extra: ['-no-xattrs'],
  })
  const { rootHash } = await appendVerity(file)
  await writeOciLayout(join(place, 'squashfs'), [{ tag: TAG, layers: [{ file, rootHash }] }])
  rmSync(file)
  const names = execFileSync('find', [tree, '-printf', '%f\\0'], { maxBuffer: MOST })
  const count = names.filter((byte) => byte === 0).length
  return {
    source: `${place}/tar:${TAG}`,
    squashfs: `${place}/squashfs:${TAG}`,
    blob: largestFile(join(place, 'tar/blobs/sha256')),
    names: count,
    nameBytes: names.length - count,
  }
}

function largestFile(folder: string): string {
  const sizes = readdirSync(folder).map((name) => ({ name, size: statSync(join(folder, name)).size }))
  const [largest] = sizes.sort((a, b) => b.size - a.size)
  return join(folder, largest?.name ?? '')
}
