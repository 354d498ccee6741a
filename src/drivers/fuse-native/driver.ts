import { closeSync, fstatSync, readdirSync } from 'node:fs'
import { FsError, packDevice, systemPath } from '../../base/index.ts'
import {
  allocateTally,
  hasHostDirectories,
  type OpenMolecule,
  openMolecule,
  watchImages,
} from '../../molecule/index.ts'
import { duplicateDescriptor } from '../../sys/files/descriptor.ts'
import { isConnectionOver } from '../../sys/files/device-io.ts'
import { openFuseDevice } from '../../sys/mounts/device.ts'
import { type FuseMountOptions, inheritedFuseFd } from '../../sys/mounts/mount.ts'
import { MOUNT_TYPE, readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { unmountFuse } from '../../sys/mounts/unmount.ts'
import { isHostRoot } from '../../sys/plain/namespaces.ts'
import { procPath } from '../../sys/plain/proc.ts'
import { withTimeout } from '../../sys/plain/promises.ts'
import { hasSysAdmin } from '../../sys/plain/rights.ts'
import type { Driver, EndReason, RunningServer, ServeOptions } from '../driver.ts'
import { layerStatus, tellOnce } from '../layer-status.ts'
import { libfuseOptions } from './libfuse-options.ts'
import { Operations } from './operations.ts'
import { loadPackage, type PackageMount } from './package.ts'

const MOUNT_TIMEOUT_MS = 60_000

/** The package does not report the unmount, so the driver polls for it, with one system call each time. */
const END_INTERVAL_MS = 50

/**
 * Mounts and serves through libfuse. Everything runs on the main thread, because the package answers only on its event
 * loop. Signals and the control channel come between two requests.
 */
export const fuseNative: Driver = {
  async mount(options, served) {
    assertPossible(options, served)
    const Package = loadPackage(served.driverPath)
    const { text, warnings } = libfuseOptions(options)
    // Opened for its error messages, which say more than those of libfuse.
    closeSync(openFuseDevice())
    const { spec, cacheSize } = served
    const log = tellOnce(served.log)
    const tally = allocateTally(1, spec.images.length)
    const watch = watchImages(tally, 0, spec.images.length, (message) => log('error', message))
    // The package does not pass on the caller's uid.
    const namesTrusted = isHostRoot() && !options.allowOther
    const molecule = openMolecule(spec, { watch, warn: (message) => log('warn', message) })
    const operations = new Operations({
      ...molecule,
      cacheSize,
      log,
      debug: served.kernel.debug,
      namesTrusted,
    })
    const mount = new Package(options.target, operations.table(), { timeout: false })
    operations.answerAttributes(mount)
    mount._fuseOptions = () => text
    const fuseFd = await mountNow(mount, options.target)
    const device = topMountAt(readMountInfo(), options.target)?.device
    return {
      mount: { fuseFd, way: hasSysAdmin() ? 'mount' : 'fusermount', device, warnings },
      serve: () => serve(fuseFd, served, operations, { tally, molecule }),
    }
  },
}

/** @throws FsError EINVAL for what libfuse or the package cannot do */
function assertPossible({ target }: FuseMountOptions, { spec }: ServeOptions): void {
  if (inheritedFuseFd(target) !== undefined) {
    throw new FsError('EINVAL', `driver=fuse-native mounts itself: target ${target} needs driver=builtin`)
  }
  if (hasHostDirectories(spec)) {
    throw new FsError('EINVAL', 'driver=fuse-native cannot obey access lists of directories: leave it out')
  }
  if (typeof systemPath(target) !== 'string') {
    throw new FsError('EINVAL', `driver=fuse-native takes only a target that is UTF-8: ${target}`)
  }
}

/**
 * The `RunningServer` of a mount. libfuse serves it since `mount`; this only gives statistics and watches for its end.
 */
function serve(
  fuseFd: number,
  { spec, cacheSize }: ServeOptions,
  { counters, operations }: Operations,
  { tally, molecule }: { readonly tally: SharedArrayBuffer; readonly molecule: OpenMolecule },
): RunningServer {
  let watcher: NodeJS.Timeout | undefined
  const ended = new Promise<EndReason>((resolve) => {
    watcher = setInterval(() => {
      if (isConnectionOver(fuseFd)) resolve({ reason: 'unmounted' })
    }, END_INTERVAL_MS)
  })
  return {
    ready: Promise.resolve(),
    loaded: Promise.resolve(),
    ended,
    stats: () => ({
      pending: { reads: 0, oldestMs: 0 },
      counters,
      operations,
      cacheSize,
      layers: layerStatus(spec, tally),
    }),
    async stop() {
      clearInterval(watcher)
      closeSync(fuseFd)
      molecule.closeLayers()
    },
  }
}

/** @returns a duplicate descriptor of the connection: libfuse may close its own at any time */
async function mountNow(mount: PackageMount, target: string): Promise<number> {
  const before = connections()
  try {
    const mounted = new Promise<void>((resolve, reject) => {
      mount.mount((error) => (error === null ? resolve() : reject(mountError(error, target))))
    })
    await withTimeout(mounted, MOUNT_TIMEOUT_MS, 'the kernel did not start the file system')
    const fd = connections().find((one) => !before.includes(one))
    if (fd === undefined) throw new FsError('EIO', `mount on ${target}: unmounted before it was ready`)
    return duplicateDescriptor(fd)
  } catch (error) {
    // The target held no mount of this type before.
    if (topMountAt(readMountInfo(), target)?.type === MOUNT_TYPE) await unmountFuse(target, true)
    throw error
  }
}

function mountError(error: Error, target: string): FsError {
  const reason =
    error.message === 'Mountpoint in use'
      ? 'it takes no mount point as a target: choose a directory in it, or driver=builtin'
      : `${error.message}: libfuse prints why with --foreground; for plain users the directory must be empty`
  return new FsError('EIO', `fuse-native could not mount on ${target}: ${reason}`, { cause: error })
}

/** makedev(10, 229): the device number of `/dev/fuse`, wherever the node lies. */
const FUSE_RDEV = packDevice(10, 229)

/** Descriptors of this process that are open on a FUSE device. */
function connections(): readonly number[] {
  return readdirSync(procPath('self/fd'))
    .map(Number)
    .filter((fd) => {
      try {
        const stat = fstatSync(fd)
        return stat.isCharacterDevice() && stat.rdev === FUSE_RDEV
      } catch {
        // readdirSync has closed the descriptor with which it read the folder.
        return false
      }
    })
}
