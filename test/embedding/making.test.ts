import { describe, expect, test } from 'vitest'
import {
  ExcludePaths,
  generateSquashfsMediaType,
  hasVerityMetadata,
  isSquashfsMediaType,
} from '../../src/library/squashfs.ts'

describe('media types', () => {
  test('are those of stacker, and others that hold squashfs', () => {
    expect(generateSquashfsMediaType('zstd')).toBe('application/vnd.stacker.image.layer.squashfs+zstd')
    expect(isSquashfsMediaType(generateSquashfsMediaType('xz'))).toBe(true)
    expect(isSquashfsMediaType('application/vnd.sylabs.image.layer.v1.squashfs')).toBe(true)
    expect(isSquashfsMediaType('application/vnd.oci.image.layer.v1.tar')).toBe(false)
  })

  test('tell of a hash tree with their suffix, or their layer does with an annotation', () => {
    const mediaType = generateSquashfsMediaType('zstd')
    expect(hasVerityMetadata({ mediaType })).toBe(false)
    expect(hasVerityMetadata({ mediaType: `${mediaType}+verity` })).toBe(true)
    const annotations = { 'io.stackeroci.stacker.squashfs_verity_root_hash': 'ab' }
    expect(hasVerityMetadata({ mediaType, annotations })).toBe(true)
  })
})

describe('ExcludePaths', () => {
  test('keep the directories above what is included, whichever came first', () => {
    const paths = new ExcludePaths()
    paths.addExclude('/r/usr')
    paths.addExclude('/r/usr/share')
    paths.addInclude('/r/usr/bin/ls')
    paths.addExclude('/r/usr/bin')
    paths.addExclude('/r/us')
    expect(paths.toString()).toBe('/r/usr/share\n/r/us\n\n')
  })
})
