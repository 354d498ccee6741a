import { FsError } from '../../src/base/index.ts'

/** A blob that can be read from its beginning only: no index makes an image of it. */
export class NotEnterable extends FsError {
  /** @param form how it is compressed */
  constructor(form: string) {
    super(
      'EOPNOTSUPP',
      `compressed with ${form}, which cannot be read from the middle: make an image of it with "atomfs-fuse convert"`,
    )
  }
}
