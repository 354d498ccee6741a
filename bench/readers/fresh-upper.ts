import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import type { Upper } from './reader.ts'
import { unmountTarget } from './teardown.ts'

/** Room for the largest scenario twice, MiB. */
const SIZE = 4096

/**
 * An empty upper in an ext4 of its own, in a file on the disk. In the file system of the machine one reader would pay
 * for another: ext4 passes over inodes that were deleted within the last minutes (fs/ext4/ialloc.c:recently_deleted),
 * which took a quarter of the time of the next 20 000 creations, and it discards freed blocks when it commits. The file is
 * written once, whole, and read and written past the page cache: as a disk, where a sync costs one write and not
 * the allocation of blocks in a second file system.
 * @param parent made here, and removed by `removeUpper`; the file beside it stays for the next one
 */
export async function makeUpper(parent: string): Promise<Upper> {
  const [image, disk] = [join(dirname(parent), 'disk.ext4'), join(parent, 'disk')]
  mkdirSync(disk, { recursive: true })
  if (!existsSync(image)) await writeDisk(image)
  await run('mkfs.ext4', ['-q', '-F', '-E', 'nodiscard', image])
  const device = (await run('losetup', ['--find', '--show', '--direct-io=on', image])).stdout.trim()
  try {
    // Nothing is initialised in the background while something is measured.
    await run('mount', ['-t', 'ext4', '-o', 'noinit_itable', device, disk])
  } finally {
    // Goes with the mount.
    await run('losetup', ['--detach', device])
  }
  const upper = { directory: join(disk, 'upper'), work: join(disk, 'work') }
  for (const path of Object.values(upper)) mkdirSync(path)
  // What the one before has left to write would otherwise be written during this one.
  await run('sync', [], { timeout: 300_000 })
  return upper
}

/** Under another name until it is complete. */
async function writeDisk(image: string): Promise<void> {
  const zeros = ['if=/dev/zero', `of=${image}.new`, 'bs=1M', `count=${SIZE}`, 'oflag=direct', 'status=none']
  await run('dd', zeros, { timeout: 600_000 })
  renameSync(`${image}.new`, image)
}

/** Also after a `makeUpper` that failed. @throws Error where it is still mounted: its file is in use then */
export async function removeUpper(parent: string): Promise<void> {
  await unmountTarget(join(parent, 'disk'))
  rmSync(parent, { recursive: true, force: true, maxRetries: 3 })
}
