import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { digestOf, listTags } from '../../src/oci/index.ts'
import { readLayout } from '../library/images/oci-layout.ts'
import { bytesUsed } from '../library/index.ts'

const fixtures = fileURLToPath(new URL('../../fixtures', import.meta.url))
const ociDir = join(fixtures, 'oci')

describe('the bundled image', () => {
  test('every file of the bundled image has the checksum that README.md lists', () => {
    const readme = readFileSync(join(fixtures, 'README.md'), 'utf8')
    const listed = [...readme.matchAll(/^([0-9a-f]{64}) {2}(\S+)$/gm)].map(
      ([, hex, path]) => `${path} ${hex}`,
    )
    const files = readdirSync(ociDir, { recursive: true, encoding: 'utf8' }).map((name) => `oci/${name}`)
    const actual = [...files, 'oci.demo.tree.json']
      .filter((name) => statSync(join(fixtures, name)).isFile())
      .map(
        (name) =>
          `${name} ${createHash('sha256')
            .update(readFileSync(join(fixtures, name)))
            .digest('hex')}`,
      )
    expect(actual.sort()).toEqual(listed.sort())
  })

  test('the bundled image is smaller than 300 kB', () => {
    const files = readdirSync(ociDir, { recursive: true, encoding: 'utf8' })
    const total = files.reduce((sum, name) => sum + statSync(join(ociDir, name)).size, 0)
    expect(total).toBeLessThan(300_000)
  })

  test.each(['demo', 'demo-noverity'])('every blob of tag %s has the digest of its descriptor', (tag) => {
    const image = readLayout(ociDir, tag)
    expect(image.layers).toHaveLength(3)
    for (const layer of image.layers) {
      expect(digestOf(readFileSync(layer.blobPath), 'sha256')).toBe(layer.digest)
      expect(layer.size > Math.ceil(bytesUsed(layer.blobPath) / 4096) * 4096).toBe(tag === 'demo')
    }
  })

  test('the bundled image has root hashes under one tag only', () => {
    expect(listTags(ociDir)).toEqual(['demo', 'demo-noverity'])
    const [bottom, ...others] = readLayout(ociDir, 'demo').layers
    expect(bottom?.mediaType).toBe('application/vnd.stacker.image.layer.squashfs+gzip')
    for (const layer of [bottom, ...others]) expect(layer?.rootHash).toMatch(/^[0-9a-f]{64}$/)
    for (const layer of readLayout(ociDir, 'demo-noverity').layers) expect(layer.rootHash).toBeUndefined()
  })
})
