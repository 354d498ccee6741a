import { closeSync } from 'node:fs'
import { FsError, type PathText } from '../../base/index.ts'
import { isOverlay, type MountSource } from '../../molecule/index.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import type { ClientConnection } from './client-connection.ts'
import { type LowersOpened, type LowersWish, MOST_LOWERS, type SourceWord } from './protocol.ts'

/** What a mount of a client shows: the client has opened it, and the server reads it by descriptors. */
export class ClientSource {
  /** Paths that lead through a descriptor, and what people call them. */
  readonly #names: readonly (readonly [through: PathText, known: PathText])[]
  #fds: readonly number[]

  /** @param fds closed by `close` */
  constructor(fds: readonly number[], known: readonly PathText[]) {
    this.#fds = fds
    this.#names = known.map((path, i) => [descriptorPath(fds[i] ?? -1), path])
  }

  /** Of what the words of a client name. @param fd it has sent, if it has */
  static ofWord(word: SourceWord | undefined, fd: number | undefined): ClientSource {
    return word === undefined || fd === undefined
      ? new ClientSource([], [])
      : new ClientSource([fd], [word.path])
  }

  /**
   * Has a client open the lower directories of an overlay.
   * @throws FsError EOPNOTSUPP for too many; as `receive`
   */
  static async ofLowers(
    connection: ClientConnection,
    lowers: readonly PathText[],
    timeoutMs: number,
  ): Promise<ClientSource> {
    if (lowers.length > MOST_LOWERS) throw new FsError('EOPNOTSUPP', `${lowers.length} lower directories`)
    connection.send({ lowers } satisfies LowersWish)
    const { message, descriptors } = await connection.receive(timeoutMs, lowers.length)
    const source = new ClientSource(descriptors, lowers)
    if (descriptors.length === lowers.length && (message as LowersOpened).opened === lowers.length)
      return source
    source.close()
    throw new FsError('EPROTO', 'no descriptors of the lower directories')
  }

  /** The source of a request by paths that lead through the descriptors. */
  through(source: MountSource): MountSource {
    const paths = this.#names.map(([through]) => through)
    if (isOverlay(source)) return { ...source, lowers: paths, areDirectories: true }
    return { ...source, path: paths[0] ?? source.path }
  }

  /** A path that people know, for one that leads through a descriptor. */
  named(path: PathText): PathText {
    for (const [through, known] of this.#names) {
      if (path === through || path.startsWith(`${through}/`)) return `${known}${path.slice(through.length)}`
    }
    return path
  }

  /** What is needed of it is open by other descriptors. */
  close(): void {
    for (const fd of this.#fds) closeSync(fd)
    this.#fds = []
  }
}
