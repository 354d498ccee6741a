import type { KeyObject } from 'node:crypto'
import type { PathText } from '../../base/index.ts'

/** Where keys of encrypted images come from. Asked when they are needed, and not before. */
export interface KeySource {
  /** RSA key for images that were encrypted for one; undefined where none was given. @throws FsError */
  privateKey(): KeyObject | undefined
  /**
   * A passphrase, as bytes.
   * @param label names the image, for a question
   * @returns memory that is overwritten when it is not needed any more; undefined where none was given
   * @throws FsError
   */
  passphrase(label: PathText): Promise<Uint8Array | undefined>
}
