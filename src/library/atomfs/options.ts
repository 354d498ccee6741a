import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PathText, systemPath } from '../../base/index.ts'
import type { MoleculeConfig } from '../../daemon/client/places.ts'
import { asFsError } from './files.ts'

/** What atomfs calls `MountOCIOpts`, with the same names. */
export interface MountOciOptions {
  /** The image layout, a directory. */
  readonly ociDir: PathText
  /** The image in it. */
  readonly tag: string
  /** The directory to mount on. */
  readonly target: PathText
  /** Lets the mount be changed; without a path the changes go away with it. */
  readonly addWriteableOverlay?: boolean
  /** Folder that keeps changes, in `persist`, and its work directory, in `work`; makes the mount writable by itself. */
  readonly writeableOverlayPath?: PathText
  /** Accepts layers without a root hash; a wrong hash is always refused. */
  readonly allowMissingVerityData?: boolean
  /** Folder for runtime data instead of `/run/atomfs`. */
  readonly metadataDir?: PathText
}

/**
 * What atomfs hands to overlayfs when it mounts. Here it is always so, and nothing need be handed over:
 *
 * - `index=off`: each name of a file in the layers is a file of its own once it changes.
 * - `xino=on`: inode numbers are unique over all layers, and the same at every mount of them.
 * - `userxattr`: marks are read from attributes `user.overlay.*`, from those of `trusted.overlay.*`, too. Changes are
 *   marked with the latter only where the mount says so (`xattr=trusted`).
 */
export const OVERLAY_MOUNT_OPTIONS = 'index=off,xino=on,userxattr'

/** The place of a blob in the layout: `OCIDIR/blobs/sha256`, and `parts` below it. Need not exist. */
export function atomsPath(options: Pick<MountOciOptions, 'ociDir'>, ...parts: readonly PathText[]): PathText {
  // Go's path.Join leaves no slash at the end.
  return join(options.ociDir, 'blobs', 'sha256', ...parts).replace(/\/$/, '')
}

/**
 * Writes options as atomfs writes its `config.json`: JSON with the names and the order of its Go structure, mode 0644.
 * A file that is there is overwritten.
 * @throws FsError what the system said
 */
export function writeToFile(options: MountOciOptions, file: PathText): void {
  const { writeableOverlayPath, addWriteableOverlay = writeableOverlayPath !== undefined } = options
  const config: MoleculeConfig = {
    OCIDir: options.ociDir,
    Tag: options.tag,
    Target: options.target,
    AddWriteableOverlay: addWriteableOverlay,
    WriteableOverlayPath: writeableOverlayPath ?? '',
    AllowMissingVerityData: options.allowMissingVerityData ?? false,
    MetadataDir: options.metadataDir ?? '',
  }
  try {
    writeFileSync(systemPath(file), JSON.stringify(config), { mode: 0o644 })
  } catch (error) {
    throw asFsError(error, file)
  }
}
