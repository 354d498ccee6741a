import type { PathText } from '../../base/index.ts'

/** What an image is mounted with. */
export interface MountParams {
  /** File with the image, `overlay`, or a directory. */
  readonly source: PathText
  /** The directory to mount on. */
  readonly target: PathText
  /** `squashfs`, `ext3`, `encryptfs`, `gocryptfs`, `overlay`. */
  readonly filesystem: string
  /** Flags of mount(2). */
  readonly flags?: number
  /** Byte where the image begins in its file. */
  readonly offset?: number
  /** Bytes of the image; images say it themselves. */
  readonly size?: number
  /** Of an encrypted image. */
  readonly key?: Uint8Array
  /** Options of the file system: for an overlay `lowerdir=…`, `upperdir=…`, `workdir=…`. */
  readonly fsOptions?: readonly string[]
}

/** What a driver is started with. */
export interface DriverParams {
  /** Folder of the session. */
  readonly sessionPath?: PathText
  /** Descriptor of the user namespace. */
  readonly usernsFd?: number
  /** Descriptor of a FUSE connection; for drivers with the feature `FUSE`. */
  readonly fuseFd?: number
  /** Configuration of the engine. */
  readonly config?: unknown
}

/** How an engine mounts for a driver: mount(2). */
export type MountFunction = (
  source: PathText,
  target: PathText,
  filesystem: string,
  flags: number,
  data: string,
) => void | Promise<void>

/** What mounts images and overlays for an engine. */
export interface ImageDriver {
  /** Mounts; resolves when the mount can be used. @throws FsError why there is no mount */
  mount(params: MountParams, mountFunction?: MountFunction): Promise<void>
  /** Called once before anything is mounted. */
  start(params: DriverParams): Promise<void>
  /** Ends what serves a mount; unmounts first where nobody has done it. An empty target says that the end begins. */
  stop(target: PathText): Promise<void>
  /** Bits of `DRIVER_FEATURE`. */
  features(): number
}
