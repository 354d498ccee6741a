import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openSquashfs } from '../../../src/library/squashfs.ts'
import { convert, openSourceImage } from '../../../src/make/index.ts'
import { pax } from '../../library/images/tar-special.ts'
import { tarEnd, tarEntry, withTempDir, writeTarImage } from '../../library/index.ts'

const FILE = { type: 'file', mode: 0o644, uid: 0, mtime: 1_000_000_000 } as const
const LEVELS = 2000
const PATHS = 5

/** Files at the ends of long paths whose directories have no entries. */
function deepLayer(name: string, ...others: readonly Buffer[]): Buffer {
  const files = Array.from({ length: PATHS }, (_, i) =>
    Buffer.concat([pax(`path=${i}/${'d/'.repeat(LEVELS)}${name}`), tarEntry({ ...FILE, path: 'f' })]),
  )
  return Buffer.concat([...others, ...files, tarEnd()])
}

test('paths of thousands of names, on such ones of a layer below, take no time that grows with their square', async () => {
  await withTempDir(async (temp) => {
    const source = join(temp, 'source')
    const whiteout = tarEntry({ ...FILE, path: '.wh.gone' })
    writeTarImage(source, { tag: 't', layers: [deepLayer('low'), deepLayer('high', whiteout)] })
    const image = await openSourceImage(`${source}:t`)
    const ociDir = join(temp, 'out')
    mkdirSync(ociDir)
    const options = { image: { name: 'gzip', level: 1, blockSize: 4096, threads: 1 } } as const
    const { layers } = await convert(image, { ociDir, tag: 't' }, options)
    image.close()
    const top = openSquashfs(join(ociDir, 'blobs/sha256', layers[1]!.digest.slice(7)))
    try {
      expect(top.stat(`/${PATHS - 1}/${'d/'.repeat(LEVELS)}high`).mtime).toBe(FILE.mtime)
      expect(top.readdir('/').map(({ name }) => name)).toEqual(['0', '1', '2', '3', '4', 'gone'])
    } finally {
      top.close()
    }
  })
}, 60_000)
