import { findProgram } from '../../test/library/programs/tools.ts'
import type { MakeSettings, Reader } from './reader.ts'

/** A program that mounts nothing. */
export function withoutMounts(program: string, can: Pick<Reader, 'make' | 'extract' | 'first'>): Reader {
  return {
    name: program,
    missing: () => (findProgram(program) === undefined ? `needs ${program}` : undefined),
    accepts: () => false,
    mount: () => Promise.reject(new Error(`${program} mounts nothing`)),
    ...can,
  }
}

function maker(
  program: string,
  make: (tree: string, image: string, settings: MakeSettings) => string[],
): Reader {
  return withoutMounts(program, { make })
}

export const unsquashfsReader = withoutMounts('unsquashfs', {
  extract: (image, directory) => ['unsquashfs', '-quiet', '-no-progress', '-dest', directory, image],
})

export const mksquashfsMaker = maker('mksquashfs', (tree, image, { compressor, level, blockSize }) => [
  'mksquashfs',
  tree,
  image,
  '-noappend',
  '-no-progress',
  '-quiet',
  '-no-xattrs',
  '-comp',
  compressor,
  '-Xcompression-level',
  `${level}`,
  '-b',
  `${blockSize}`,
])

/** Reads an archive, which tar(1) makes of the tree meanwhile; the time of both counts. */
export const tar2sqfsMaker = maker('tar2sqfs', (tree, image, { compressor, level, blockSize }) => [
  'bash',
  '-o',
  'pipefail',
  '-c',
  'tar -C "$1" -cf - . | tar2sqfs -q -x -f -c "$3" -X "level=$4" -b "$5" "$2"',
  'tar2sqfs',
  tree,
  image,
  compressor,
  `${level}`,
  `${blockSize}`,
])

/** @param program `bin/atomfs-fuse` */
export function makeOurs(program: string): NonNullable<Reader['make']> {
  return (tree, image, { compressor, level, blockSize }) => [
    program,
    'pack',
    tree,
    image,
    '--quiet',
    '--no-verity',
    '--compression',
    `${compressor}:${level}`,
    '--block-size',
    `${blockSize}`,
  ]
}

/** @param program `bin/atomfs-fuse` */
export function extractOurs(program: string): NonNullable<Reader['extract']> {
  return (image, directory) => [program, 'extract', '--quiet', image, directory]
}
