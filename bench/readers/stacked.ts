import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import { needs } from '../../test/library/programs/tools.ts'
import type { Subject } from '../inputs/index.ts'
import { kernelReader, mountKernel } from './kernel.ts'
import { MOUNT_TIMEOUT, type Mounted, type Reader, type Upper } from './reader.ts'
import { missingProgram, mountSquashfuse } from './squashfuse.ts'
import { endProcesses, processesWithArgument, unmountTarget } from './teardown.ts'

/** The kernel's overlayfs on one kernel mount for each layer. */
export const kernelOverlayReader: Reader = {
  name: 'kernel-overlay',
  missing: () => needs('root', 'loop', 'kernel-squashfs', 'kernel-overlayfs').reason || undefined,
  accepts: isStack,
  mount: ({ images }, target, work, upper) =>
    mountStack(images, target, work, mountKernel, async (lowers) => {
      // Relative names: the option string of mount(2) is limited to a page.
      const lowerdir = `lowerdir=${lowers.map((_, i) => lowers.length - 1 - i).join(':')}`
      // As ours does by itself; otherwise mv(1) would copy a directory of the image.
      const options = [
        lowerdir,
        ...upperOptions(upper),
        ...(upper === undefined ? [] : ['redirect_dir=on']),
      ].join()
      await run('mount', ['-t', 'overlay', '-o', options, 'overlay', target], {
        cwd: work,
        timeout: MOUNT_TIMEOUT,
      })
    }),
}

/** What a user without rights has today: fuse-overlayfs on one squashfuse_ll for each layer. */
export function fuseOverlayReader(squashfuseLl: string): Reader {
  return {
    name: 'fuse-overlayfs',
    missing: () => missingProgram('fuse-overlayfs') ?? missingProgram(squashfuseLl),
    accepts: isStack,
    mount: ({ images }, target, work, upper) =>
      mountFuseOverlay(
        images,
        target,
        work,
        (image, lower) => mountSquashfuse(squashfuseLl, ['-s'], image, lower),
        upper,
      ),
  }
}

/** fuse-overlayfs on the kernel's mounts: what it costs by itself. */
export const fuseOverlayOnKernelReader: Reader = {
  name: 'fuse-overlayfs-kernel',
  missing: () => missingProgram('fuse-overlayfs') ?? kernelReader.missing(),
  accepts: isStack,
  mount: ({ images }, target, work, upper) => mountFuseOverlay(images, target, work, mountKernel, upper),
}

/** A single layer is merged with nothing unless there is an upper. */
function isStack({ images }: Subject, writable: boolean): boolean {
  return writable || images.length > 1
}

function upperOptions(upper: Upper | undefined): readonly string[] {
  return upper === undefined ? [] : [`upperdir=${upper.directory}`, `workdir=${upper.work}`]
}

async function mountFuseOverlay(
  images: readonly string[],
  target: string,
  work: string,
  mountLayer: (image: string, target: string) => Promise<Mounted>,
  upper: Upper | undefined,
): Promise<Mounted> {
  return await mountStack(images, target, work, mountLayer, async (lowers) => {
    const options = [`lowerdir=${[...lowers].reverse().join(':')}`, ...upperOptions(upper)].join()
    await run('fuse-overlayfs', ['-o', options, target], { timeout: MOUNT_TIMEOUT })
  })
}

/** Mounts every layer on `work/0`, `work/1` … and the merge on `target`. @param images bottom first */
async function mountStack(
  images: readonly string[],
  target: string,
  work: string,
  mountLayer: (image: string, target: string) => Promise<Mounted>,
  mountMerge: (lowers: readonly string[]) => Promise<void>,
): Promise<Mounted> {
  const layers: Mounted[] = []
  const lowers = images.map((_, i) => join(work, `${i}`))
  let mergers: readonly number[] = []
  const unmount = async (): Promise<void> => {
    await unmountTarget(target)
    await endProcesses(mergers)
    for (const layer of [...layers].reverse()) await layer.unmount()
  }
  try {
    for (const [i, image] of images.entries()) {
      const lower = lowers[i] ?? ''
      mkdirSync(lower, { recursive: true })
      layers.push(await mountLayer(image, lower))
    }
    await mountMerge(lowers)
    mergers = processesWithArgument(target)
  } catch (error) {
    await unmount()
    throw error
  }
  return { pids: [...layers.flatMap(({ pids }) => pids), ...mergers], unmount }
}
