import { closeSync, constants, openSync } from 'node:fs'
import { FsError, type PathText, systemPath, withFsError } from '../../../base/index.ts'
import { holdChanges } from '../../../daemon/client/control-client.ts'
import { committedImage } from '../../../make/index.ts'
import { parseTarget } from '../../../oci/write/index.ts'
import { syncFd } from '../../../sys/files/file-io.ts'
import { absolutePath } from '../../../sys/files/working-directory.ts'
import { unlock } from '../../keys/unlock.ts'
import { formatLines } from '../../print/format.ts'
import { interruptible } from '../../print/interruption.ts'
import type { KeyFlags } from '../../words/key-flags.ts'
import { convertWithBars, report } from './convert.ts'
import { type PackFlags, packOptions } from './pack-options.ts'

export interface CommitFlags extends PackFlags, KeyFlags {
  readonly squash?: boolean
  readonly metadir?: PathText
}

/** Runs `commit`: makes an image of a writable mount, with one more layer of its changes, and prints its digest. */
export async function commit(target: PathText, to: string, flags: CommitFlags): Promise<number> {
  const destination = parseTarget(to)
  const { force: _, whiteouts: __, ...image } = packOptions(flags)
  const place = absolutePath(target)
  const metadataDir = flags.metadir === undefined ? undefined : absolutePath(flags.metadir)
  // What is mounted is known to its daemon alone.
  const { mount, release } = await holdChanges(place, metadataDir)
  release()
  if (mount.subdir !== undefined) {
    throw new FsError('EOPNOTSUPP', `${target}: a mount of a part of an image (subdir=) cannot be committed`)
  }
  await unlock([mount], flags)
  let waited = 0
  const hold = async (): Promise<() => void> => {
    sync(place)
    const held = await holdChanges(place, metadataDir)
    const start = performance.now()
    return () => {
      held.release()
      waited = performance.now() - start
    }
  }
  const created = new Date(image.latestTime === undefined ? Date.now() : image.latestTime * 1000)
  return await interruptible(async (signal) => {
    const source = committedImage({ ...mount, hold }, { squash: flags.squash === true, created })
    try {
      const made = await convertWithBars(source, destination, { image: { ...image, signal } }, flags)
      const status = report(made, flags)
      if (flags.json !== true && flags.quiet !== true) {
        process.stdout.write(formatLines([`changes waited for ${(waited / 1000).toFixed(2)} s`]))
      }
      return status
    } finally {
      source.close()
    }
  }, `${to} was not made`)
}

/** What programs have written is in the kernel, which now hands it over to the mount. */
function sync(target: PathText): void {
  withFsError(target, () => {
    const fd = openSync(systemPath(target), constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      syncFd(fd, 'file system')
    } finally {
      closeSync(fd)
    }
  })
}
