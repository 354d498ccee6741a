import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/support/process.ts'
import type { Upper } from './reader.ts'
import { unmountTarget } from './teardown.ts'

/** Bytes; the file is sparse. Room for the largest scenario twice. */
const SIZE = '8G'

/**
 * An empty upper in an ext4 of its own, in a file on the disk. In the file system of the machine one reader would pay
 * for another: ext4 passes over inodes that were deleted within the last minutes (fs/ext4/ialloc.c:recently_deleted),
 * which took a quarter of the time of the next 20 000 creations, and it discards freed blocks when it commits.
 * @param parent made here, and removed by `removeUpper`
 */
export async function makeUpper(parent: string): Promise<Upper> {
  const [image, disk] = [join(parent, 'disk.ext4'), join(parent, 'disk')]
  mkdirSync(disk, { recursive: true })
  await run('truncate', ['-s', SIZE, image])
  await run('mkfs.ext4', ['-q', '-F', '-E', 'nodiscard', image])
  // Nothing is initialised in the background while something is measured.
  await run('mount', ['-t', 'ext4', '-o', 'loop,noinit_itable', image, disk])
  const upper = { directory: join(disk, 'upper'), work: join(disk, 'work') }
  for (const path of Object.values(upper)) mkdirSync(path)
  // What the one before has left to write would otherwise be written during this one.
  await run('sync', [], { timeout: 300_000 })
  return upper
}

/** Also after a `makeUpper` that failed. @throws Error where it is still mounted */
export async function removeUpper(parent: string): Promise<void> {
  await unmountTarget(join(parent, 'disk'))
  rmSync(parent, { recursive: true, force: true, maxRetries: 3 })
}
