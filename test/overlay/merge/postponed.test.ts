import { describe, expect, test, vi } from 'vitest'
import { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import type { Layer } from '../../../overlay/stored/layer-flags.ts'
import {
  type NodeId,
  Postponed,
  ReadPostponed,
  ROOT_NODE_ID,
  S_IFDIR,
  S_IFREG,
  Work,
} from '../../../src/base/index.ts'
import { InlineDataPath, Protocol } from '../../../src/fuse/index.ts'
import * as abi from '../../../src/fuse/protocol/abi.ts'
import { MemoryBlockStore } from '../../fuse/support/memory-file-system.ts'
import { message, u32, u64 } from '../../fuse/support/messages.ts'
import { Random } from '../../library/trees/random.ts'
import { type ModelNode, randomLayer, toLayer } from '../support/model.ts'
import { watched } from '../support/watched.ts'

const REQUESTS = 400
const MOST_TRIES = 1000

function* nothing(): Generator<'more', void> {}

/** A read-only mount without a device. */
class Side {
  readonly tree: MergedTree
  readonly #protocol: Protocol
  postponed = 0

  constructor(layers: readonly Layer[]) {
    this.tree = new MergedTree(layers)
    this.#protocol = new Protocol({
      fileSystem: this.tree,
      dataPath: new InlineDataPath(this.tree, new MemoryBlockStore(), () => 0, 0),
      log: () => undefined,
    })
  }

  /** The bytes of the one reply. */
  ask(opcode: number, node: NodeId, body: Uint8Array): Buffer {
    const request = message(opcode, node, body)
    this.#protocol.requestBytes.set(request)
    const replies: Buffer[] = []
    const send = (): void => {
      const bytes = this.#protocol.replyBytes
      replies.push(Buffer.from(bytes.subarray(0, bytes.readUInt32LE(0))))
    }
    if (this.#protocol.handle(request.length) === 'reply') send()
    for (let tries = 0; this.#protocol.postponed > 0; tries++) {
      if (tries > MOST_TRIES) throw new Error('postponed again and again')
      this.postponed += 1
      this.#protocol.requestBytes.fill(0xee)
      this.#protocol.proceed(send)
    }
    expect(replies.length).toBe(opcode === abi.FUSE_FORGET ? 0 : 1)
    return replies[0] ?? Buffer.alloc(0)
  }
}

const NAMES = ['a', 'b', 'c', 'dd', 'e', '.wh.a', '-m', 'none'] as const
const text = (name: string): Buffer => Buffer.from(`${name}\0`, 'latin1')

/** The same requests to two mounts, one of which has its layers far away: the replies are the same bytes. */
function compare(seed: number): void {
  const random = new Random(seed)
  const layers = Array.from({ length: random.int(1, 4) }, (_, i) => toLayer(`l${i}`, randomLayer(random)))
  const met = new Set<string>()
  let reluctant = false
  const onRead = (what: string): void => {
    if (!reluctant || met.has(what)) return
    met.add(what)
    // The second kind waits together with others.
    throw random.int(0, 1) === 0 ? new Postponed(new Work(nothing())) : new ReadPostponed(new Work(nothing()))
  }
  const near = new Side(layers)
  const far = new Side(layers.map((one, i) => watched(one, `layer ${i}`, onRead)))
  const known = new Map<NodeId, number>([[ROOT_NODE_ID, 1]])
  const learn = (node: NodeId): void => void known.set(node, (known.get(node) ?? 0) + 1)
  const cookies = new Map<NodeId, number[]>()
  for (let step = 0; step < REQUESTS; step++) {
    const node = random.pick([...known.keys()])
    const cookie = random.pick([0, ...(cookies.get(node) ?? [])])
    // Small rooms, so that many listings end in the middle. A READDIRPLUS takes no more than one entry here.
    const read = (size: number): Buffer => Buffer.concat([u64(0, cookie), u32(size, 0), u64(0), u32(0, 0)])
    const [opcode, body] = random.pick([
      [abi.FUSE_LOOKUP, text(random.pick(NAMES))],
      [abi.FUSE_LOOKUP, text(random.pick(NAMES))],
      [abi.FUSE_GETATTR, Buffer.concat([u32(0, 0), u64(0)])],
      [abi.FUSE_READDIR, read(random.pick([80, 4096]))],
      [abi.FUSE_READDIRPLUS, read(200)],
      [abi.FUSE_READ, read(4096)],
      [abi.FUSE_READLINK, Buffer.alloc(0)],
      [abi.FUSE_LISTXATTR, u32(4096, 0)],
      [abi.FUSE_GETXATTR, Buffer.concat([u32(4096, 0), text('user.a')])],
      [abi.FUSE_FORGET, u64(known.get(node) ?? 0)],
    ] as const)
    if (opcode === abi.FUSE_FORGET && node === ROOT_NODE_ID) continue
    met.clear()
    reluctant = true
    const left = far.ask(opcode, node, body)
    reluctant = false
    const right = near.ask(opcode, node, body)
    // A listing may end where it would be postponed: what it tells is the beginning of the other one.
    const told = opcode === abi.FUSE_READDIR ? right.subarray(0, left.length) : right
    expect(left.subarray(8), `step ${step}: opcode ${opcode}`).toEqual(told.subarray(8))
    if (opcode === abi.FUSE_FORGET) known.delete(node)
    if (right.length <= 16 || right.readInt32LE(4) !== 0) continue
    if (opcode === abi.FUSE_LOOKUP && right.readBigUInt64LE(16) !== 0n)
      learn(Number(right.readBigUInt64LE(16)))
    if (opcode === abi.FUSE_READDIRPLUS) {
      if (right.readBigUInt64LE(16) !== 0n) learn(Number(right.readBigUInt64LE(16)))
      const places = cookies.get(node) ?? []
      cookies.set(node, [...places, Number(right.readBigUInt64LE(16 + 128 + 8))])
    }
  }
  expect(far.postponed).toBeGreaterThan(REQUESTS / 4)
  expect(far.tree.state.directories).toBe(near.tree.state.directories)
  for (const [node, count] of known) far.ask(abi.FUSE_FORGET, node, u64(count))
  expect(far.tree.state.directories).toBe(0)
}

function model(mode: number, children: ReadonlyMap<string, ModelNode> = new Map()): ModelNode {
  return { mode, uid: 0, rdev: 0, content: '', xattrs: {}, children: new Map(children), depth: 1 }
}

/** Layers that all have `both`, with a file of their own in it, and of which each read waits once after the mount. */
function farStack(count: number): Side {
  const met = new Set<string>()
  let isFar = false
  const layers = Array.from({ length: count }, (_, i) => {
    const both = model(S_IFDIR | 0o755, new Map([[`own${i}`, model(S_IFREG | 0o644)]]))
    const layer = toLayer(`l${i}`, model(S_IFDIR | 0o755, new Map([['both', both]])))
    return watched(layer, `layer ${i}`, (what) => {
      if (!isFar || met.has(what)) return
      met.add(what)
      throw new ReadPostponed(new Work(nothing()))
    })
  })
  const side = new Side(layers)
  isFar = true
  return side
}

describe('postponed requests of a read-only mount', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'requests that are postponed at each read get the reply of requests that are not, seed %i',
    compare,
  )

  test('a name of many layers, and the listing of it, do not wait for one layer after the other', () => {
    const count = 12
    const side = farStack(count)
    const lookups = vi.spyOn(side.tree, 'lookup')
    const listings = vi.spyOn(side.tree, 'readdir')
    const found = side.ask(abi.FUSE_LOOKUP, ROOT_NODE_ID, text('both'))
    const read = Buffer.concat([u64(0, 0), u32(4096, 0), u64(0), u32(0, 0)])
    const listing = side.ask(abi.FUSE_READDIR, Number(found.readBigUInt64LE(16)), read)
    // As far as it could be told without another wait.
    expect(listing.length).toBeGreaterThan(16)
    expect(side.postponed).toBeGreaterThan(0)
    expect(lookups.mock.calls.length).toBeLessThan(count)
    expect(listings.mock.calls.length).toBeLessThan(count)
  })
})
