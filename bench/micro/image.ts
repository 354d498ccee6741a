import { openSync, rmSync } from 'node:fs'
import { adapted, type Layer, MergedTree } from '../../overlay/index.ts'
import { openCodec, SquashfsImage } from '../../squashfs/index.ts'
import { isDirectory, isRegular, NO_MARKS, type NodeId, ROOT_NODE_ID } from '../../src/base/index.ts'
import { DirentPacker } from '../../src/fuse/protocol/dirent.ts'
import { Reply } from '../../src/fuse/protocol/encode.ts'
import { FileSource } from '../../src/sys/files/file-source.ts'
import { mksquashfs } from '../../test/library/images/images.ts'
import type { MicroCase } from './timer.ts'

const REPLY_SIZE = 1 << 17

/** Packs a part of what is installed: some thousand names. @returns the image, to be removed by the caller */
export async function packSample(directory: string): Promise<string> {
  const image = `${directory}/sample.squashfs`
  rmSync(image, { force: true })
  return await mksquashfs('/usr/include', image, { compressor: 'zstd', extra: ['-no-xattrs'] })
}

/** Reading of metadata from a real image, as the dispatcher does it, without kernel and device. */
export function imageCases(path: string): MicroCase[] {
  const fd = openSync(path, 'r')
  const open = (): MergedTree => {
    const source = new FileSource(fd, path)
    const layer: Layer = new SquashfsImage({ source, sourceId: 0, label: path, codec: openCodec })
    return new MergedTree([adapted(layer, NO_MARKS)])
  }
  const warm = open()
  const names: Known[] = []
  const walk = new TreeWalk(warm, (known) => names.push(known))
  while (walk.next() > 0) {}
  return [
    {
      name: 'READDIRPLUS, first walk',
      operation: `one of ${names.length} entries, metadata not yet decoded`,
      run: walkEntries(open),
    },
    {
      name: 'READDIRPLUS, again',
      operation: 'one entry, caches warm',
      run: walkEntries(() => warm),
    },
    {
      name: 'LOOKUP',
      operation: 'a name at a random place, caches warm',
      run: lookups(warm, names),
    },
    {
      name: 'describe a READ',
      operation: 'extents of 128 KiB of a file',
      run: describeReads(warm, names),
    },
  ]
}

interface Known {
  readonly parent: NodeId
  readonly name: string
  readonly nodeId: NodeId
  readonly mode: number
}

/** Walks all directories of a tree with full replies, as find(1) makes the kernel do; one directory at a time. */
class TreeWalk {
  readonly #fileSystem: MergedTree
  readonly #reply = new Reply(REPLY_SIZE)
  readonly #seen: ((known: Known) => void) | undefined
  readonly #open: NodeId[] = [ROOT_NODE_ID]

  constructor(fileSystem: MergedTree, seen?: (known: Known) => void) {
    this.#fileSystem = fileSystem
    this.#seen = seen
  }

  /** Lists the next directory. @returns its entries, 0 when all are done */
  next(): number {
    const node = this.#open.pop()
    if (node === undefined) return 0
    const packer = new DirentPacker(this.#reply, REPLY_SIZE, true)
    let [entries, cookie, before] = [0, 0, -1]
    while (entries !== before) {
      before = entries
      this.#reply.begin()
      this.#fileSystem.readdir(node, cookie, {
        plus: true,
        add: (name, ino, type, next, entry) => {
          if (!packer.add(name, ino, type, next, entry)) return false
          cookie = next
          entries += 1
          if (entry === undefined) return true
          const { mode } = entry.stat
          this.#seen?.({ parent: node, name, nodeId: entry.nodeId, mode })
          if (isDirectory(mode)) this.#open.push(entry.nodeId)
          return true
        },
      })
    }
    return entries
  }
}

/**
 * Lists directories until `count` entries are done, and at the end of a tree begins the next. What the last directory
 * had too much counts for the next call.
 */
function walkEntries(start: () => MergedTree): (count: number) => number {
  let walk = new TreeWalk(start())
  let ahead = 0
  return (count) => {
    let done = ahead
    while (done < count) {
      const entries = walk.next()
      if (entries === 0) walk = new TreeWalk(start())
      done += entries
    }
    ahead = done - count
    return done
  }
}

function lookups(fileSystem: MergedTree, names: readonly Known[]): (count: number) => number {
  return (count) => {
    let sum = 0
    for (let i = 0; i < count; i += 1) {
      const known = names[(i * 7919) % names.length]
      if (known !== undefined) sum += fileSystem.lookup(known.parent, known.name)?.stat.ino ?? 0
    }
    return sum
  }
}

function describeReads(fileSystem: MergedTree, names: readonly Known[]): (count: number) => number {
  const files = names.filter(({ mode }) => isRegular(mode))
  const sink = { length: 0, hole: add, block: addBlock, file: addBlock }
  function add(length: number): void {
    sink.length += length
  }
  function addBlock(_: unknown, __: number, length: number): void {
    sink.length += length
  }
  return (count) => {
    for (let i = 0; i < count; i += 1) {
      const file = files[(i * 7919) % files.length]
      if (file !== undefined) fileSystem.read(file.nodeId, 0, 131_072, sink)
    }
    return sink.length
  }
}
