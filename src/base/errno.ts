/**
 * Linux errno numbers: they are the FUSE wire ABI, so they are written out here instead of taken from the
 * host's table. They are positive; the sign is applied in `src/fuse/encode.ts` only.
 */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  ENOLINK: 67,
  EPROTO: 71,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ENOBUFS: 105,
  ENOTCONN: 107,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EUCLEAN: 117,
  EREMOTEIO: 121,
  EDQUOT: 122,
  ENOMEDIUM: 123,
  ENOKEY: 126,
  EKEYREJECTED: 129,
} as const

export type ErrnoCode = keyof typeof ERRNO

/**
 * The one error class of the file system. It carries the name of the errno, never its number.
 * Absent is `ENOENT`; damaged or failed verification is `EIO`, never `ENOENT`.
 * Messages say the structure, the position, what was expected and what was found.
 */
export class FsError extends Error {
  override readonly name = 'FsError'
  readonly code: ErrnoCode

  constructor(code: ErrnoCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The positive errno number to answer with; anything that is not an FsError is a bug, and `EIO`. */
export function errnoOf(error: unknown): number {
  return error instanceof FsError ? ERRNO[error.code] : ERRNO.EIO
}

const CODE_OF_NUMBER = new Map<number, ErrnoCode>(
  Object.entries(ERRNO).map(([code, number]) => [number, code as ErrnoCode]),
)

/** The name of a positive errno number as the kernel returned it; unknown numbers become `EIO`. */
export function codeOfErrno(number: number): ErrnoCode {
  return CODE_OF_NUMBER.get(number) ?? 'EIO'
}
