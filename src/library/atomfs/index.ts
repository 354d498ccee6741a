/** The names of atomfs' Go packages `molecule` and `common`; docs/atomfs-names.md compares them one by one. */

export { assertPaths } from './arguments.ts'
export { type AtomDescriptor, readAtoms } from './atoms.ts'
export { ensureDir, pathExists } from './files.ts'
export { mountStatus, umount, umountWithMetadir } from './mounts.ts'
export { atomsPath, type MountOciOptions, OVERLAY_MOUNT_OPTIONS, writeToFile } from './options.ts'
export {
  getMountNamespaceName,
  metadataPathOf,
  replacePathSeparators,
  runtimeDir,
  TEST_OVERRIDE_RUNTIME_DIR_KEY,
} from './runtime.ts'
