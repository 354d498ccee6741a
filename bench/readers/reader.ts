import type { Subject } from '../inputs/index.ts'

/** One way to mount an image. */
export interface Reader {
  readonly name: string
  /** Why it cannot be measured here; undefined where it can. */
  missing(): string | undefined
  /** True where it can show this image. */
  accepts(subject: Subject): boolean
  /**
   * Mounts, and resolves when the mount answers.
   * @param target an empty directory
   * @param work a directory for whatever else is needed, removed by the caller after `unmount`
   * @throws Error with nothing left mounted
   */
  mount(subject: Subject, target: string, work: string): Promise<Mounted>
}

export interface Mounted {
  /** The processes that serve; none for the kernel. */
  readonly pids: readonly number[]
  /** Unmounts everything and ends what serves it, by its process id if need be. Never throws for what is gone. */
  unmount(): Promise<void>
}

export const MOUNT_TIMEOUT = 60_000
