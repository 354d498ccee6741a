import type { BenchOptions } from '../options.ts'
import { apptainerReader } from './apptainer.ts'
import { gunzipReader, podmanReader, umociReader } from './first-readers.ts'
import { kernelReader } from './kernel.ts'
import { mksquashfsMaker, tar2sqfsMaker, unsquashfsReader } from './makers.ts'
import { fuseNativeReader, oursReader, squashfsReader } from './ours.ts'
import type { Reader } from './reader.ts'
import { squashfuseReader, threadedSquashfuseReader } from './squashfuse.ts'
import { fuseOverlayOnKernelReader, fuseOverlayReader, kernelOverlayReader } from './stacked.ts'

export { makeUpper, removeUpper } from './fresh-upper.ts'
export type { MakeSettings, Mounted, Reader, Upper } from './reader.ts'
export { endProcesses, unmountTarget } from './teardown.ts'

/** Ours on squashfs, where the image to be measured is of another format. */
export const OURS_SQUASHFS = 'ours-squashfs'

/** Readers that only run when `--readers` names them. */
export const ON_REQUEST: readonly string[] = ['ours-fuse-native']

/** @param program `bin/atomfs-fuse` of the build under test */
export function allReaders(program: string, options: BenchOptions): Reader[] {
  const { squashfuseLl } = options
  return [
    oursReader('ours', program, true),
    oursReader('ours-unverified', program, false),
    oursReader('ours-writethrough', program, true, ['-o', 'writeback=0']),
    oursReader('ours-volatile', program, true, ['-o', 'fsync=volatile']),
    squashfsReader(OURS_SQUASHFS, program),
    ...options.compare.map((other) => oursReader(other.name, other.program, true)),
    squashfuseReader('squashfuse_ll', squashfuseLl),
    threadedSquashfuseReader('squashfuse_ll-mt', squashfuseLl),
    kernelReader,
    kernelOverlayReader,
    fuseOverlayReader(squashfuseLl),
    fuseOverlayOnKernelReader,
    apptainerReader(squashfuseLl),
    squashfuseReader('squashfuse', 'squashfuse'),
    fuseNativeReader('ours-fuse-native', program),
    mksquashfsMaker,
    tar2sqfsMaker,
    unsquashfsReader,
    gunzipReader,
    umociReader,
    podmanReader,
  ]
}
