import type { PathText } from '../../base/index.ts'
import type { MountRequest } from '../../request/index.ts'
import type { SourceWord } from './protocol.ts'

/** What a client wants, read from its words. */
export interface ReadWish {
  readonly request: MountRequest
  /** Words that were passed over, a line each. */
  readonly ignored: readonly string[]
}

export interface MountServerOptions {
  /** What all mounts of a server have in common: those that ask for something else have another server. */
  readonly defaults: Pick<MountRequest['options'], 'cacheSize' | 'workers'>
  /**
   * Reads the words of a client.
   * @param source absent for an overlay
   * @param path leads to what SOURCE names
   * @returns undefined where they are no mount that a server makes
   * @throws UsageError, FsError
   */
  readWish(
    program: string,
    words: readonly PathText[],
    source: SourceWord | undefined,
    path: PathText,
  ): ReadWish | undefined
}
