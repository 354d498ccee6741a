import { closeSync, ftruncateSync, openSync } from 'node:fs'
import { withTarget } from '../programs/mounts.ts'
import { run } from '../programs/process.ts'

/** ext2, ext3 and ext4 file systems: made by mke2fs, filled by the kernel. */

export interface ExtOptions {
  /** Options of mke2fs, separated by spaces. */
  readonly options?: string
  readonly megabytes?: number
  /** Of its content. */
  readonly from?: string
}

/** Makes a file with a file system. @returns its path */
export async function mke2fs(
  file: string,
  { options = '', megabytes = 32, from }: ExtOptions,
): Promise<string> {
  const fd = openSync(file, 'w')
  ftruncateSync(fd, megabytes << 20)
  closeSync(fd)
  const words = options.split(' ').filter((word) => word !== '')
  await run('mke2fs', ['-q', '-F', ...words, ...(from === undefined ? [] : ['-d', from]), file])
  return file
}

/** A kernel mount over a loop device for the time of `use`. */
export function withKernelExt<T>(
  parent: string,
  image: string,
  use: (target: string) => Promise<T> | T,
  options = 'ro',
): Promise<T> {
  return withTarget(parent, async (target) => {
    await run('mount', ['-t', 'ext4', '-o', `loop,${options}`, image, target], { timeout: 30_000 })
    return await use(target)
  })
}
