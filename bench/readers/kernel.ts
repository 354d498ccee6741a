import { run } from '../../test/library/programs/process.ts'
import { needs } from '../../test/library/programs/tools.ts'
import { MOUNT_TIMEOUT, type Mounted, type Reader } from './reader.ts'
import { unmountTarget } from './teardown.ts'

/** The kernel's squashfs over a loop device. */
export const kernelReader: Reader = {
  name: 'kernel',
  missing: () => needs('root', 'loop', 'kernel-squashfs').reason || undefined,
  accepts: ({ images }, writable) => images.length === 1 && !writable,
  mount: ({ images: [image = ''] }, target) => mountKernel(image, target),
}

export async function mountKernel(image: string, target: string): Promise<Mounted> {
  await run('mount', ['-t', 'squashfs', '-o', 'ro,loop', image, target], { timeout: MOUNT_TIMEOUT })
  return { pids: [], unmount: () => unmountTarget(target) }
}
