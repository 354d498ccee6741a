import { describe, expect, test } from 'vitest'
import {
  FsError,
  Postponed,
  ReadPostponed,
  type Steps,
  Work,
  type WritableFileSystem,
} from '../../../src/base/index.ts'
import { InlineDataPath, Protocol } from '../../../src/fuse/index.ts'
import * as abi from '../../../src/fuse/protocol/abi.ts'
import { MemoryBlockStore } from '../support/memory-file-system.ts'
import { message, u32, u64 } from '../support/messages.ts'

const NODE = 77

/** Work of which a test decides when it ends. */
class Handle {
  ended = false
  failure: FsError | undefined
  readonly work: Work

  constructor(kind: 'more' | 'waiting' = 'waiting') {
    const steps = function* (handle: Handle): Steps {
      while (!handle.ended) yield kind
      if (handle.failure !== undefined) throw handle.failure
    }
    this.work = new Work(steps(this))
  }
}

function server(methods: Partial<WritableFileSystem>) {
  const fileSystem = methods as WritableFileSystem
  const log: string[] = []
  const protocol = new Protocol({
    fileSystem,
    writable: fileSystem,
    dataPath: new InlineDataPath(fileSystem, new MemoryBlockStore(), () => 0, 0),
    log: (_, text) => {
      log.push(text)
    },
  })
  const reply = () => {
    const bytes = Buffer.from(protocol.replyBytes.subarray(0, protocol.replySize))
    return { unique: bytes.readUInt32LE(8), error: bytes.readInt32LE(4), payload: bytes.subarray(16) }
  }
  const ask = (unique: number, opcode: number, body: Uint8Array) => {
    const bytes = message(opcode, NODE, body)
    bytes.writeUInt32LE(unique, 8)
    protocol.requestBytes.set(bytes)
    const outcome = protocol.handle(bytes.length)
    // What comes next is read into the same memory.
    protocol.requestBytes.fill(0xee)
    return outcome === 'reply' ? reply() : undefined
  }
  const proceed = () => {
    const replies: ReturnType<typeof reply>[] = []
    const progress = protocol.proceed(() => replies.push(reply()))
    return { progress, replies }
  }
  return { protocol, ask, proceed, log }
}

const writeIn = (offset: number, data: string): Buffer =>
  Buffer.concat([u64(0, offset), u32(data.length, 0), u64(0), u32(0, 0), Buffer.from(data)])

describe('a request that is postponed', () => {
  test('a postponed request is handled again unchanged after its work, and other requests are served meanwhile', () => {
    const handle = new Handle()
    const written: string[] = []
    const { protocol, ask, proceed } = server({
      write: (_, offset, data) => {
        if (!handle.work.isDone) throw new Postponed(handle.work)
        written.push(`${offset}:${Buffer.from(data).toString()}`)
        return data.length
      },
      removexattr: () => undefined,
    })
    expect(ask(5, abi.FUSE_WRITE, writeIn(3, 'first'))).toBe(undefined)
    expect(ask(6, abi.FUSE_WRITE, writeIn(9, 'second'))).toBe(undefined)
    expect(protocol.postponed).toBe(2)
    expect(ask(7, abi.FUSE_REMOVEXATTR, Buffer.from('user.a\0'))).toMatchObject({ unique: 7, error: 0 })
    expect(proceed()).toEqual({ progress: 'waiting', replies: [] })
    handle.ended = true
    const { progress, replies } = proceed()
    expect(progress).toBe('done')
    expect(replies.map(({ unique, error, payload }) => [unique, error, payload.readUInt32LE(0)])).toEqual([
      [5, 0, 5],
      [6, 0, 6],
    ])
    expect(written).toEqual(['3:first', '9:second'])
    expect(protocol.postponed).toBe(0)
  })

  test('a postponed request may be postponed again', () => {
    const handles = [new Handle('more'), new Handle('more')]
    const { ask, proceed } = server({
      removexattr: () => {
        const next = handles.find(({ work }) => !work.isDone)
        if (next !== undefined) throw new Postponed(next.work)
      },
    })
    ask(5, abi.FUSE_REMOVEXATTR, Buffer.from('user.a\0'))
    expect(proceed()).toEqual({ progress: 'more', replies: [] })
    handles[0]!.ended = true
    expect(proceed()).toEqual({ progress: 'more', replies: [] })
    handles[1]!.ended = true
    expect(proceed().replies).toEqual([{ unique: 5, error: 0, payload: Buffer.alloc(0) }])
  })

  test('a postponed request is answered by the end of its work if the work is its answer', () => {
    const good = new Handle()
    const bad = new Handle()
    bad.failure = new FsError('ENOSPC', 'full')
    const handles = [good, bad]
    let calls = 0
    const { ask, proceed } = server({
      fsync: () => {
        calls += 1
        throw new Postponed(handles[calls - 1]!.work, true)
      },
    })
    ask(5, abi.FUSE_FSYNC, Buffer.concat([u64(0), u32(0, 0)]))
    ask(6, abi.FUSE_FSYNC, Buffer.concat([u64(0), u32(0, 0)]))
    bad.ended = true
    expect(proceed().replies).toEqual([{ unique: 6, error: -28, payload: Buffer.alloc(0) }])
    good.ended = true
    expect(proceed().replies).toEqual([{ unique: 5, error: 0, payload: Buffer.alloc(0) }])
    expect(calls).toBe(2)
  })

  test('a postponed request gets EIO and a log line if its work finds damage', () => {
    const handle = new Handle()
    handle.failure = new FsError('EIO', 'block 7 is damaged')
    const { ask, proceed, log } = server({
      removexattr: () => {
        if (!handle.work.isDone) throw new Postponed(handle.work)
        handle.work.finish()
      },
    })
    ask(5, abi.FUSE_REMOVEXATTR, Buffer.from('user.a\0'))
    handle.ended = true
    expect(proceed().replies).toEqual([{ unique: 5, error: -5, payload: Buffer.alloc(0) }])
    expect(log.join()).toContain('block 7 is damaged')
  })

  test('a postponed request gets EINTR after an interrupt if its work only reads', () => {
    const [reading, copying] = [new Handle(), new Handle()]
    const { protocol, ask, proceed } = server({
      removexattr: (_, name) => {
        if (name === 'user.read' && !reading.work.isDone) throw new ReadPostponed(reading.work)
        if (name === 'user.copy' && !copying.work.isDone) throw new Postponed(copying.work)
      },
    })
    ask(5, abi.FUSE_REMOVEXATTR, Buffer.from('user.read\0'))
    ask(6, abi.FUSE_REMOVEXATTR, Buffer.from('user.copy\0'))
    ask(7, abi.FUSE_REMOVEXATTR, Buffer.from('user.read\0'))
    const interrupt = (unique: number) => {
      const body = Buffer.alloc(8)
      body.writeUInt32LE(unique, 0)
      // The other half of `message`.
      body.writeUInt32LE(0x0102_0304, 4)
      return ask(99, abi.FUSE_INTERRUPT, body)
    }
    expect([interrupt(6), interrupt(77)]).toEqual([undefined, undefined])
    expect(interrupt(5)).toEqual({ unique: 5, error: -4, payload: Buffer.alloc(0) })
    expect(interrupt(5)).toBe(undefined)
    expect(protocol.postponed).toBe(2)
    reading.ended = true
    copying.ended = true
    const ends: number[][] = []
    while (protocol.postponed > 0) {
      for (const { unique, error } of proceed().replies) ends.push([unique, error])
    }
    expect(ends.sort()).toEqual([
      [6, 0],
      [7, 0],
    ])
    expect(interrupt(7)).toBe(undefined)
  })
})
