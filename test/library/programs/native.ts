import { lastErrno } from '../../../src/sys/ffi/ffi.ts'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'

/**
 * The few system calls that tests need and Node lacks. Paths are bytes without a NUL at the end; nothing follows
 * a symbolic link at the end of a path.
 */
const lgetxattr = libcFunction('int64_t lgetxattr(uint8_t *path, uint8_t *name, uint8_t *value, size_t size)')
const llistxattr = libcFunction('int64_t llistxattr(uint8_t *path, uint8_t *list, size_t size)')
const lsetxattr = libcFunction(
  'int lsetxattr(uint8_t *path, uint8_t *name, uint8_t *value, size_t size, int flags)',
)
const mknod = libcFunction('int mknod(uint8_t *path, uint32_t mode, uint64_t dev)')
const lseek = libcFunction('int64_t lseek(int fd, int64_t offset, int whence)')

/** linux/limits.h XATTR_SIZE_MAX and XATTR_LIST_MAX. */
const XATTR_MAX = 65536
const scratch = Buffer.alloc(XATTR_MAX)
const SEEK_DATA = 3
const SEEK_HOLE = 4
const ENXIO = 6
const EOPNOTSUPP = 95

/** Every attribute that the caller may see, names in byte order, values in hex. */
export function readXattrs(path: Buffer): Record<string, string> {
  const cPath = terminated(path)
  const length = Number(llistxattr(cPath, scratch, XATTR_MAX))
  if (length < 0) {
    if (lastErrno() === EOPNOTSUPP) return {}
    throw failed('llistxattr', path)
  }
  if (length === 0) return {}
  const names = scratch
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort()
  const values: Record<string, string> = {}
  for (const name of names) {
    const size = Number(lgetxattr(cPath, terminated(Buffer.from(name, 'latin1')), scratch, XATTR_MAX))
    if (size < 0) throw failed(`lgetxattr ${name}`, path)
    values[name] = scratch.toString('hex', 0, size)
  }
  return values
}

export function setXattr(path: Buffer, name: string, value: Uint8Array): void {
  const result = lsetxattr(terminated(path), terminated(Buffer.from(name, 'latin1')), value, value.length, 0)
  if (result !== 0) throw failed(`lsetxattr ${name}`, path)
}

/** @param mode type and permission bits; the umask of the process applies. */
export function makeNode(path: Buffer, mode: number, major: number, minor: number): void {
  if (mknod(terminated(path), mode, encodeDevice(major, minor)) !== 0) throw failed('mknod', path)
}

/** `dev_t` of the C library (sys/sysmacros.h, makedev) for numbers of up to 32 bits. */
function encodeDevice(major: number, minor: number): bigint {
  const [a, b] = [BigInt(major), BigInt(minor)]
  return ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn)
}

export function decodeDevice(rdev: bigint): string {
  const major = ((rdev >> 32n) & 0xfffff000n) | ((rdev >> 8n) & 0xfffn)
  const minor = ((rdev >> 12n) & 0xffffff00n) | (rdev & 0xffn)
  return `${major}:${minor}`
}

/** The data segments [start, end) of an open file, as its file system reports them. */
export function* dataSegments(fd: number, size: number): Generator<readonly [number, number]> {
  let position = 0
  while (position < size) {
    const start = Number(lseek(fd, position, SEEK_DATA))
    if (start < 0) {
      if (lastErrno() === ENXIO) return
      throw new Error(`lseek SEEK_DATA at ${position}: errno ${lastErrno()}`)
    }
    const end = Number(lseek(fd, start, SEEK_HOLE))
    if (end <= start) throw new Error(`lseek SEEK_HOLE at ${start} gave ${end}`)
    yield [start, Math.min(end, size)]
    position = end
  }
}

function terminated(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.of(0)])
}

function failed(call: string, path: Buffer): Error {
  return new Error(`${call} ${JSON.stringify(path.toString('latin1'))}: errno ${lastErrno()}`)
}
