import type { FileSystem, NodeId } from '../../../src/base/index.ts'
import { Protocol, type Rehearsed } from '../../../src/fuse/index.ts'

/** Serves a file system by the protocol alone: no device, and READs are noted and get nothing. */
export class ProtocolAlone implements Rehearsed {
  isWaiting = false
  readonly requestBytes: Buffer
  readonly reads: NodeId[] = []
  readonly #protocol: Protocol

  constructor(fileSystem: FileSystem) {
    this.#protocol = new Protocol({
      fileSystem,
      dataPath: {
        read: ({ nodeId }) => {
          this.reads.push(nodeId)
          return 'reply'
        },
      },
      log: () => undefined,
    })
    this.requestBytes = this.#protocol.requestBytes
  }

  ask(length: number): Buffer | undefined {
    const protocol = this.#protocol
    if (protocol.handle(length) !== 'reply') return undefined
    return protocol.replyBytes.subarray(0, protocol.replySize)
  }
}
