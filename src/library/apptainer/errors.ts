import { type ErrnoCode, FsError } from '../../base/index.ts'

/**
 * What is wrong with an image or with a question about it:
 * - `unknown-format`: no format that there is (`ErrUnknownFormat`)
 * - `other-format`: the header of a format is not there
 * - `bad-header`: the header is there, and is damaged or of what is not supported
 * - `read-only`: it was to be written, and its format cannot be; the image is open nevertheless
 * - `in-use`: somebody else holds the lock that is needed
 * - `no-partition`, `no-section`: it has none of that name or number (`ErrNoPartition`, `ErrNoSection`)
 */
export type ImageFault =
  | 'unknown-format'
  | 'other-format'
  | 'bad-header'
  | 'read-only'
  | 'in-use'
  | 'no-partition'
  | 'no-section'

const CODES: Readonly<Record<ImageFault, ErrnoCode>> = {
  'unknown-format': 'EINVAL',
  'other-format': 'EINVAL',
  'bad-header': 'EIO',
  'read-only': 'EROFS',
  'in-use': 'EBUSY',
  'no-partition': 'ENOENT',
  'no-section': 'ENOENT',
}

/** What Apptainer's package `image` returns as an error of its own. */
export class ImageError extends FsError {
  override readonly name: string = 'ImageError'
  readonly fault: ImageFault
  /** For a header: the byte where it was looked for. */
  readonly offset: number | undefined

  constructor(fault: ImageFault, message: string, offset?: number) {
    super(CODES[fault], message)
    this.fault = fault
    this.offset = offset
  }
}

/** Whether an error says that there is none of the formats that are known (`ErrUnknownFormat`). */
export function isUnknownFormat(error: unknown): error is ImageError {
  return error instanceof ImageError && error.fault === 'unknown-format'
}
