import type { PathText } from '../../base/index.ts'
import type { DriverMount, DriverName, ServeOptions } from '../../drivers/index.ts'
import type { MoleculeSpec, OpenUpper } from '../../molecule/index.ts'
import type { FuseMount, FuseMountOptions } from '../../sys/mounts/mount.ts'
import type { OwnEntry } from '../runtime/entries.ts'

/** Where a mount goes, and what it shows. */
export interface Opened {
  /** As mount tables show it. */
  readonly target: PathText
  readonly images: MoleculeSpec
}

/** A mount that was not made; the dispatcher has ended, and all is on the disk; or it died, or may still be at work. */
export type UpperEnd = 'not made' | 'complete' | 'cut off'

/**
 * The process that serves, as one of its mounts sees it. A process of one mount (`OwnProcess`) looks, opens and mounts
 * itself; a server of several (`shared/one-mount.ts`) has its client do what leads through paths.
 */
export interface ServingProcess {
  /** Serves other mounts as well, and goes on after this one. */
  readonly isShared: boolean
  /** Finds the target and opens the images. @throws FsError what cannot be mounted */
  open(): Promise<Opened>
  /** Opens the upper directory; the runtime entry exists by now. @throws FsError as `openChanges` */
  openUpper(entry: OwnEntry, opened: Opened): Promise<OpenUpper | undefined>
  /** @throws FsError */
  mount(options: FuseMountOptions, driver: DriverName, served: ServeOptions): Promise<DriverMount>
  /** The mount serves, and the caller will hear of it next. */
  giveUpRights(mount: FuseMount | undefined, isWritable: boolean): void
  /** Lets go of the upper directory; threads that use it may not have ended yet. Never throws. */
  closeUpper(upper: OpenUpper, how: UpperEnd, mount: FuseMount | undefined): void
  /** Nothing uses the images and the upper directory any more. Never throws. */
  close(): Promise<void>
  /** The entry is gone: removes temporary changes. What stays is removed by the next mount or unmount. Never throws. */
  sweep(entry: OwnEntry): void
}
