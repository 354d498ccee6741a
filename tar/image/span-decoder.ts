import type { EntryPoint } from '../../src/codecs/inflate/index.ts'
import type { Feed } from '../gzip/feed.ts'

/** Decodes one form of compression from a checkpoint on. One for each thread. */
export interface SpanDecoder {
  /** Whose stream is open. */
  user: object | undefined
  /** Begins at a checkpoint. What was begun before is forgotten. */
  begin(point: EntryPoint): void
  /**
   * Decodes some of what follows, across the ends of members and frames.
   * @returns bytes made; 0 where it has to be called again
   * @throws FsError EIO for damage and at the end of the data
   */
  decode(feed: Feed, target: Uint8Array): number
  /**
   * Decodes a whole piece at once, several times as fast. Absent: not faster.
   * @param input from the checkpoint on
   * @param length bytes wanted
   * @returns undefined where it cannot
   * @throws FsError EIO for damage
   */
  readonly piece?: (point: EntryPoint, input: Uint8Array, length: number) => Uint8Array | undefined
}
