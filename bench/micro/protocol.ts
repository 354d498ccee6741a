import type { Stat } from '../../src/base/index.ts'
import * as abi from '../../src/fuse/protocol/abi.ts'
import { decodeReadIn, Request } from '../../src/fuse/protocol/decode.ts'
import { DirentPacker } from '../../src/fuse/protocol/dirent.ts'
import { encodeEntry, Reply } from '../../src/fuse/protocol/encode.ts'
import { Random } from '../../test/library/trees/random.ts'
import type { MicroCase } from './timer.ts'

/** A power of two. */
const VARIANTS = 64
const GENERATION = 0x9e37_79b1
const NAMES = [
  'a',
  'lib',
  'README.md',
  'libsomething.so.1.2.3',
  'test_with_a_rather_long_name_indeed.cpython.pyc',
]

/** Decoding of requests and encoding of replies, without any file system. */
export function protocolCases(): MicroCase[] {
  const random = new Random(1)
  const lookups = Array.from({ length: VARIANTS }, () => lookupRequest(random))
  const reads = Array.from({ length: VARIANTS }, () => readRequest(random))
  const stats = Array.from({ length: VARIANTS }, () => anyStat(random))
  return [
    {
      name: 'decode LOOKUP',
      operation: 'header and name',
      run: (count) => repeat(count, (i) => decodeName(lookups[i % VARIANTS])),
    },
    {
      name: 'decode READ',
      operation: 'header and fuse_read_in',
      run: (count) => repeat(count, (i) => decodeRead(reads[i % VARIANTS])),
    },
    encodeEntryCase(stats),
    encodeDirentCase(stats),
  ]
}

type Message = { readonly request: Request; readonly length: number }

function decodeName(message: Message | undefined): number {
  if (message === undefined) return 0
  message.request.decodeHeader(message.length)
  return message.request.name().length
}

function decodeRead(message: Message | undefined): number {
  if (message === undefined) return 0
  message.request.decodeHeader(message.length)
  return decodeReadIn(message.request.body).offset
}

function encodeEntryCase(stats: readonly Stat[]): MicroCase {
  const reply = new Reply(4096)
  const token = { low: 0, high: 0 }
  return {
    name: 'encode entry',
    operation: 'a whole LOOKUP reply',
    run: (count) =>
      repeat(count, (i) => {
        reply.begin()
        const stat = stats[i % VARIANTS]
        encodeEntry(reply, stat && { nodeId: 2 ** 33 + i, stat, generation: GENERATION })
        token.low = i
        return reply.finish(token)
      }),
  }
}

function encodeDirentCase(stats: readonly Stat[]): MicroCase {
  const reply = new Reply(1 << 17)
  return {
    name: 'encode READDIRPLUS entry',
    operation: 'one entry of a full reply',
    run: (count) => {
      let packer = new DirentPacker(reply, 1 << 17, true)
      return repeat(count, (i) => {
        const stat = stats[i % VARIANTS]
        const name = NAMES[i % NAMES.length] ?? ''
        if (stat === undefined) return 0
        if (!packer.add(name, stat.ino, 8, i + 1, { nodeId: 2 ** 33 + i, stat, generation: GENERATION })) {
          reply.begin()
          packer = new DirentPacker(reply, 1 << 17, true)
        }
        return reply.length
      })
    },
  }
}

export function repeat(count: number, operation: (index: number) => number): number {
  let sum = 0
  for (let i = 0; i < count; i += 1) sum = (sum + operation(i)) | 0
  return sum
}

function lookupRequest(random: Random): Message {
  return message(random, abi.FUSE_LOOKUP, Buffer.from(`${random.pick(NAMES)}\0`))
}

function readRequest(random: Random): Message {
  const body = Buffer.alloc(40)
  body.writeBigUInt64LE(BigInt(random.int(0, 2 ** 31)), 8)
  body.writeUInt32LE(random.pick([4096, 131_072, 1 << 20]), 16)
  return message(random, abi.FUSE_READ, body)
}

/** `struct fuse_in_header` and a body, in a receive buffer of its own. */
function message(random: Random, opcode: number, body: Buffer): Message {
  const length = abi.IN_HEADER_SIZE + body.length
  const bytes = Buffer.alloc(4096)
  bytes.writeUInt32LE(length, 0)
  bytes.writeUInt32LE(opcode, 4)
  bytes.writeUInt32LE(random.next(), 8)
  bytes.writeBigUInt64LE(BigInt(random.int(1, 2 ** 31)) << 8n, 16)
  bytes.writeUInt32LE(random.int(0, 65_535), 24)
  bytes.writeUInt32LE(random.int(0, 65_535), 28)
  body.copy(bytes, abi.IN_HEADER_SIZE)
  return { request: new Request(bytes), length }
}

function anyStat(random: Random): Stat {
  const size = random.int(0, 2 ** 31 - 1)
  return {
    ino: random.int(1, 2 ** 31 - 1),
    mode: random.pick([0o100644, 0o100755, 0o040755, 0o120777]),
    nlink: random.int(1, 3),
    uid: random.int(0, 2000),
    gid: random.int(0, 2000),
    rdev: 0,
    size,
    blocks: Math.ceil(size / 512),
    blksize: 131_072,
    atime: 1_700_000_000,
    mtime: random.int(0, 1_700_000_000),
    ctime: 1_700_000_000,
    atimeNsec: 0,
    mtimeNsec: 0,
    ctimeNsec: 0,
  }
}
