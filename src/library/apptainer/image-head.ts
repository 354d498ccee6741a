import { pread } from '../../sys/files/file-io.ts'
import { HEAD_SIZE } from './headers.ts'

/** An open file, of which the beginnings of its parts are looked at. */
export class ImageHead {
  readonly fd: number
  readonly size: number

  constructor(fd: number, size: number) {
    this.fd = fd
    this.size = size
  }

  /**
   * As many bytes from a position as Apptainer looks at.
   * @returns undefined where the file has fewer. @throws FsError where it cannot be read
   */
  at(position: number): Uint8Array | undefined {
    if (!(position >= 0 && position + HEAD_SIZE <= this.size)) return undefined
    const bytes = new Uint8Array(HEAD_SIZE)
    return pread(this.fd, position, bytes) === HEAD_SIZE ? bytes : undefined
  }
}
