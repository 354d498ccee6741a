// Answers a request of the kernel without a mount: what FUSE_LOOKUP tells of a name in a directory:
// node examples/protocol.mjs DIRECTORY NAME
import { InlineDataPath, Protocol } from 'atomfs-fuse/fuse'
import { HostDirectoryLayer, MergedTree } from 'atomfs-fuse/overlay'

/** include/uapi/linux/fuse.h */
const FUSE_LOOKUP = 1
const FUSE_ROOT_ID = 1n

const [directory = '', name = ''] = process.argv.slice(2)
const layer = new HostDirectoryLayer(directory)
try {
  const fileSystem = new MergedTree([layer])
  // Nothing is read here; a server gives the layers' blocks and files.
  const noBlocks = { readBlock: () => 0 }
  const dataPath = new InlineDataPath(fileSystem, noBlocks, () => 0, 0)
  const protocol = new Protocol({ fileSystem, dataPath, log: (level, text) => console.error(level, text) })

  const body = Buffer.from(`${name}\0`)
  const request = protocol.requestBytes
  request.writeUInt32LE(40 + body.length, 0)
  request.writeUInt32LE(FUSE_LOOKUP, 4)
  request.writeBigUInt64LE(7n, 8)
  request.writeBigUInt64LE(FUSE_ROOT_ID, 16)
  body.copy(request, 40)

  protocol.handle(40 + body.length)
  // struct fuse_out_header, then struct fuse_entry_out with the attributes at byte 40.
  const reply = protocol.replyBytes.subarray(0, protocol.replySize)
  const error = reply.readInt32LE(4)
  if (error !== 0) console.log(`error ${error}`)
  else if (reply.readBigUInt64LE(16) === 0n) console.log('no such name')
  else console.log(`node ${reply.readBigUInt64LE(16)}, ${reply.readBigUInt64LE(16 + 40 + 8)} bytes`)
} finally {
  layer.close()
}
