/**
 * Device numbers in 32 bits, as the kernel gives them to user space and FUSE and squashfs store them: 12 bits of major
 * number, 20 of minor number, the upper 12 of these at the top (include/linux/kdev_t.h:new_encode_dev).
 */

/** Numbers of this width and more do not fit. */
export const MAJOR_LIMIT = 2 ** 12
export const MINOR_LIMIT = 2 ** 20

/** @param major of it the lower 12 bits are taken, of `minor` the lower 20 */
export function packDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0
}

export function majorOf(device: number): number {
  return (device >>> 8) & 0xfff
}

export function minorOf(device: number): number {
  return (device & 0xff) | ((device >>> 12) & 0xfff00)
}

/** From the 64 bits that stat(2) of glibc, musl and Node have (`gnu_dev_makedev`). */
export function packNodeDevice(device: bigint): number {
  const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n))
  const minor = Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n))
  return packDevice(major, minor)
}
