/** The names of Apptainer's Go package `image`; docs/apptainer-names.md compares them one by one. */

export {
  DRIVER_FEATURE,
  IMAGE_TYPE,
  IMAGE_USAGE,
  ROOT_FS,
  SIF_DESC_INSPECT_METADATA_JSON,
  SIF_DESC_OCI_CONFIG_JSON,
} from './constants.ts'
export type { DriverParams, ImageDriver, MountFunction, MountParams } from './driver-types.ts'
export { getDriver, registerDriver } from './drivers.ts'
export { ImageError, type ImageFault, isUnknownFormat } from './errors.ts'
export { checkExt3Header, checkSquashfsHeader, getSquashfsComp } from './headers.ts'
export { Image, isReadOnlyFilesystem, ReadOnlyImageError } from './image.ts'
export type { ImageFields, ImageJson, Section } from './image-json.ts'
export { initImage, resolvePath } from './init.ts'
export { newPartitionReader, newSectionReader } from './readers.ts'
export type { MountedRoot } from './root.ts'
