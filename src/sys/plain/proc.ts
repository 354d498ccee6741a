import { FsError } from '../../base/index.ts'

/**
 * Where this process finds /proc, and the open files of its descriptors.
 *
 * pivot_root(2) moves the root directory of all processes of a mount namespace, also of a daemon whose own mount
 * becomes that root. An absolute path would then lead into the mount that the daemon serves, and a thread that waits
 * for itself hangs for ever. A working directory inside of /proc does not move, so the daemon makes one its working
 * directory and uses relative paths.
 *
 * The working directory belongs to the process, but each thread has to know of it: the main thread calls
 * `holdDescriptors`, and threads that it starts later call `descriptorsAreHeld`.
 */
let held = false

/**
 * Makes the folder of descriptors the working directory. Relative paths of the user are invalid from then on.
 * @throws FsError ENOENT where /proc is not mounted
 */
export function holdDescriptors(): void {
  try {
    process.chdir('/proc/self/fd')
  } catch (error) {
    throw new FsError('ENOENT', 'cannot enter /proc/self/fd: mount /proc first', { cause: error })
  }
  held = true
}

/** To be called in each thread that starts after `holdDescriptors`. */
export function descriptorsAreHeld(): void {
  held = true
}

/** Whether the folder of descriptors is the working directory, as far as this thread knows. */
export function descriptorsAreHeldHere(): boolean {
  return held
}

/** A path that leads to the open file of a descriptor. For a descriptor of a symbolic link it leads to the link. */
export function descriptorPath(fd: number): string {
  return held ? `./${fd}` : `/proc/self/fd/${fd}`
}

/** A path below /proc, also after `holdDescriptors`. @param path such as `self/status` or `1/mountinfo` */
export function procPath(path: string): string {
  if (!held) return `/proc/${path}`
  return path.startsWith('self/') ? `../${path.slice('self/'.length)}` : `../../${path}`
}

/**
 * `/proc/self/fd/N` and `/dev/fd/N` name a descriptor of the process that resolves the path, so another process that
 * serves has to inherit it.
 * @returns N; undefined for any other path
 */
export function descriptorOf(path: string): number | undefined {
  const digits = /^\/(?:proc\/self|dev)\/fd\/(\d{1,9})$/.exec(path)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
