import { constants, openSync, readFileSync } from 'node:fs'
import { codeOf, FsError } from '../../base/index.ts'

export const FUSE_DEVICE = '/dev/fuse'

/**
 * Opens `/dev/fuse` with non-blocking reads; exec closes the descriptor (libuv sets O_CLOEXEC).
 * @throws FsError with the exact reason and the remedy in one line
 */
export function openFuseDevice(path = FUSE_DEVICE): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  } catch (error) {
    throw explainDeviceError(path, codeOf(error) ?? 'EIO', error)
  }
}

/** The FsError for a failed open of the FUSE device. @param code errno name of open(2) */
export function explainDeviceError(path: string, code: string, cause?: unknown): FsError {
  const options = { cause }
  switch (code) {
    case 'ENOENT':
      return kernelHasFuse()
        ? new FsError(
            'ENOENT',
            `${path} does not exist: give the container the device (--device /dev/fuse) or create it with 'mknod ${path} c 10 229'`,
            options,
          )
        : new FsError(
            'ENOENT',
            `${path} does not exist and the kernel has no FUSE: load it as root with 'modprobe fuse'`,
            options,
          )
    case 'EACCES':
      return new FsError(
        'EACCES',
        `no permission to open ${path}: its mode does not allow this user ('chmod 0666 ${path}' as root)`,
        options,
      )
    case 'EPERM':
      return new FsError(
        'EPERM',
        `${path} is forbidden by the device cgroup of this container: allow the device c 10:229 rwm (--device /dev/fuse)`,
        options,
      )
    case 'ENXIO':
    case 'ENODEV':
      return new FsError(
        'ENODEV',
        `${path} has no driver: load it as root with 'modprobe fuse', or the node has the wrong number (c 10 229)`,
        options,
      )
    default:
      return new FsError('EIO', `cannot open ${path}: ${code}`, options)
  }
}

/** True where this kernel has FUSE: built in, or as a loaded module. */
export function kernelHasFuse(): boolean {
  try {
    return /^(?:nodev)?\tfuse$/m.test(readFileSync('/proc/filesystems', 'latin1'))
  } catch {
    return false
  }
}
