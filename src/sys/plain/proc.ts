import { FsError } from '../../base/index.ts'

/**
 * Where this process finds /proc, and the very files of its descriptors. pivot_root(2) moves the root directory of every
 * process of a mount namespace, also of a daemon whose own mount becomes that root: an absolute path would then lead
 * into the mount that the daemon serves, and a thread that waits for itself hangs for ever. A working directory inside
 * of /proc is not moved. From there on everything is reached by relative paths.
 *
 * The working directory belongs to the process, what is known of it to each thread: the main thread calls
 * `holdDescriptors`, and threads that it starts later call `descriptorsAreHeld`.
 */
let held = false

/**
 * Makes the folder of descriptors the working directory. Relative paths of the caller lead nowhere from here on.
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

/** For a thread that was started after `holdDescriptors`. */
export function descriptorsAreHeld(): void {
  held = true
}

/** A path that leads to the very file of a descriptor, to a symbolic link itself too. */
export function descriptorPath(fd: number): string {
  return held ? `./${fd}` : `/proc/self/fd/${fd}`
}

/** A path below /proc of this process's start. @param path such as `self/status` or `1/mountinfo` */
export function procPath(path: string): string {
  if (!held) return `/proc/${path}`
  return path.startsWith('self/') ? `../${path.slice('self/'.length)}` : `../../${path}`
}

/**
 * `/proc/self/fd/N` and `/dev/fd/N` name a descriptor of the process that reads the name, so it has to be handed
 * on when another process serves. @returns N; undefined for any other path
 */
export function descriptorOf(path: string): number | undefined {
  const digits = /^\/(?:proc\/self|dev)\/fd\/(\d{1,9})$/.exec(path)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
