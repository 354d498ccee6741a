import { basename } from 'node:path'
import { FsError } from '../../base/index.ts'
import { realPathOrItself } from '../../sys/files/real-path.ts'
import { programsNamed } from '../../sys/process/programs.ts'

/** This program goes by that name, too, and only reads: links to it lead to a file of this name. */
const OWN_FILE = 'atomfs-fuse'

/** The program that writes ext3 file systems. @throws FsError ENOENT where it is not installed */
export function findFuse2fs(): string {
  const program = programsNamed('fuse2fs').find((path) => basename(realPathOrItself(path)) !== OWN_FILE)
  if (program !== undefined) return program
  throw new FsError('ENOENT', 'ext3=fuse2fs: the program fuse2fs is not installed (Debian: package fuse2fs)')
}
