/** What an image is, and what a partition in it is: the numbers of Apptainer's package `image`. */
export const IMAGE_TYPE = {
  SQUASHFS: 0x1000,
  EXT3: 0x1001,
  /** A directory. */
  SANDBOX: 0x1002,
  SIF: 0x1003,
  /** Squashfs in LUKS2. */
  ENCRYPTSQUASHFS: 0x1004,
  RAW: 0x1005,
  GOCRYPTFSSQUASHFS: 0x1006,
} as const

/** What a partition may be used for, and what an image is used for: bits. */
export const IMAGE_USAGE = { ROOT_FS: 1, OVERLAY: 2, DATA: 4 } as const

/** All bits of `IMAGE_USAGE`. */
export const ANY_USAGE = IMAGE_USAGE.ROOT_FS | IMAGE_USAGE.OVERLAY | IMAGE_USAGE.DATA

/** Name of the partition that is the root file system. */
export const ROOT_FS = '!__rootfs__!'

/** Name of the section of a SIF with the configuration of the OCI image that it was made of. */
export const SIF_DESC_OCI_CONFIG_JSON = 'oci-config.json'

/** Name of the section of a SIF that `apptainer inspect` shows. */
export const SIF_DESC_INSPECT_METADATA_JSON = 'inspect-metadata.json'

/** What a driver can do: bits. */
export const DRIVER_FEATURE = {
  /** Mounts images. */
  IMAGE: 1,
  /** Mounts overlays. */
  OVERLAY: 2,
  /** Wants the FUSE mount made for it, and gets the descriptor in `DriverParams.fuseFd`. */
  FUSE: 4,
} as const
