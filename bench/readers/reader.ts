import type { Subject } from '../inputs/index.ts'
import type { FirstRead } from './first-readers.ts'

/** Where the changes to a writable mount go: two empty directories of one file system. */
export interface Upper {
  readonly directory: string
  /** For the readers that must be given one. */
  readonly work: string
}

/** One way to mount an image. */
export interface Reader {
  readonly name: string
  /** Why it cannot be measured here; undefined where it can. */
  missing(): string | undefined
  /** True where it can show this image, and take changes if it is to be writable. */
  accepts(subject: Subject, writable: boolean): boolean
  /**
   * Mounts, and resolves when the mount answers.
   * @param target an empty directory
   * @param work a directory for whatever else is needed, removed by the caller after `unmount`
   * @param upper makes the mount writable; removed by the caller
   * @throws Error with nothing left mounted
   */
  mount(subject: Subject, target: string, work: string, upper?: Upper): Promise<Mounted>
  /** The command that makes an image of a directory; absent where it only mounts. */
  readonly make?: (tree: string, image: string, settings: MakeSettings) => readonly string[]
  /** The command that extracts an image into a directory that it makes. */
  readonly extract?: (image: string, directory: string) => readonly string[]
  /** The command that makes tar layers readable for the first time. @param directory has a folder `target` */
  readonly first?: (subject: Subject, directory: string) => FirstRead
}

/** How an image is to be made, the same for all. */
export interface MakeSettings {
  readonly compressor: 'gzip' | 'zstd'
  readonly level: number
  /** Bytes. */
  readonly blockSize: number
}

export interface Mounted {
  /** The processes that serve; none for the kernel. */
  readonly pids: readonly number[]
  /** Unmounts everything and ends what serves it, by its process id if need be. Never throws for what is gone. */
  unmount(): Promise<void>
}

export const MOUNT_TIMEOUT = 60_000
