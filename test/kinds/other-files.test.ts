import { expect, test } from 'vitest'
import { probeKind } from '../../src/kinds/kinds.ts'
import { MemorySource } from '../squashfs/support/sources.ts'

/** Files that people take for images. */

const at = (position: number, text: string): string => '\0'.repeat(position) + text

test.each([
  ['<!DOCTYPE html>\n<html>', 'an HTML page'],
  ['\n\n  <HTML lang="en">', 'an HTML page'],
  ['<?xml version="1.0"?>', 'an XML document'],
  ['{"errors":[{"code":"UNAUTHORIZED"}]}', 'a JSON document'],
  ['version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS'],
  [at(257, 'ustar\0'), 'a tar archive: atomfs-fuse convert'],
  ['\x1f\x8b\x08', 'compressed with gzip'],
  ['\x28\xb5\x2f\xfd', 'compressed with zstd'],
  ['\xfd7zXZ\0', 'compressed with xz'],
  ['BZh9', 'compressed with bzip2'],
  ['PK\x03\x04', 'a zip archive'],
  [at(1024, '\xe2\xe1\xf5\xe0'), 'an erofs image'],
  ['\x45\x3d\xcd\x28', 'a cramfs image'],
  ['XFSB', 'an XFS file system'],
  ['QFI\xfb', 'a disk image of QEMU'],
  ['#!/bin/sh\n', 'a script'],
])('a file that begins with %j is refused by what it is', (start, what) => {
  const source = new MemorySource(Buffer.from(start.padEnd(5000, ' '), 'latin1'))
  expect(() => probeKind(source)).toThrow(`: not a squashfs image or an ext2, ext3 or ext4 file system`)
  expect(() => probeKind(source)).toThrow(`, but ${what}`)
})

test('what nobody knows is refused as no squashfs image, and an empty file as one', () => {
  expect(() => probeKind(new MemorySource(Buffer.alloc(5000, 'x')))).toThrow(/: not a squashfs image$/)
  expect(() => probeKind(new MemorySource(Buffer.alloc(0)))).toThrow(/empty file/)
})
