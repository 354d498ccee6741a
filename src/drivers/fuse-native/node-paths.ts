import { type FileSystem, FsError, type NodeId, ROOT_NODE_ID } from '../../base/index.ts'

/** More than a path can have components (PATH_MAX is 4096), so that a walk never drops its own first components. */
const KNOWN_PATHS = 4096

/**
 * Finds nodes by path: libfuse's high-level interface gives no node ids. A bounded number of paths stays known, each
 * with one lookup of its node, which is forgotten when the path is dropped. A directory stays known longer than the
 * paths below it.
 */
export class NodePaths {
  readonly #fileSystem: FileSystem
  readonly #limit: number
  readonly #known = new Map<string, NodeId>()

  constructor(fileSystem: FileSystem, limit = KNOWN_PATHS) {
    this.#fileSystem = fileSystem
    this.#limit = limit
  }

  get size(): number {
    return this.#known.size
  }

  /**
   * @param path from the root of the mount, beginning with a slash. The package has made U+FFFD of bytes that are not
   *   UTF-8, so they name nothing.
   * @throws FsError ENOENT, ENOTDIR, ENAMETOOLONG, EIO
   */
  resolve(path: string): NodeId {
    let node = ROOT_NODE_ID
    const walked: (readonly [string, NodeId])[] = []
    try {
      for (let start = 1; start < path.length; ) {
        const slash = path.indexOf('/', start)
        const end = slash < 0 ? path.length : slash
        const prefix = path.slice(0, end)
        node = this.#known.get(prefix) ?? this.#lookup(node, path.slice(start, end))
        walked.push([prefix, node])
        start = end + 1
      }
      return node
    } finally {
      // From the leaf up: the first component becomes the youngest.
      for (const [prefix, found] of walked.reverse()) {
        this.#known.delete(prefix)
        this.#known.set(prefix, found)
      }
      this.#forgetOldest()
    }
  }

  #lookup(parent: NodeId, name: string): NodeId {
    const entry = this.#fileSystem.lookup(parent, Buffer.from(name).toString('latin1'))
    if (entry === undefined) throw new FsError('ENOENT', name)
    return entry.nodeId
  }

  #forgetOldest(): void {
    for (const [path, node] of this.#known) {
      if (this.#known.size <= this.#limit) return
      this.#known.delete(path)
      this.#fileSystem.forget(node, 1)
    }
  }
}
