import { type ByteReader, type FlagsForm, FsError } from '../../base/index.ts'
import * as abi from './abi.ts'
import type { Reply } from './encode.ts'
import { type Outcome, row } from './operation.ts'

/** `struct fuse_ioctl_in` and the caller's data, a view that is valid until the next request is read */
export interface IoctlIn {
  readonly command: number
  readonly data: Uint8Array
  /** Most bytes of the answer. */
  readonly room: number
}

/** The data lie in the request; `room` is how many bytes the answer may have. */
export function decodeIoctlIn(body: ByteReader): IoctlIn {
  body.skip(8 + 4) // fh, flags
  const command = body.u32()
  body.skip(8) // arg
  const size = body.u32()
  const room = body.u32()
  return { command, data: body.bytes(size), room }
}

interface FlagsCommand {
  readonly form: FlagsForm
  readonly length: number
  readonly sets: boolean
}

const FLAGS_FORMS: ReadonlyMap<number, FlagsCommand> = new Map([
  [abi.FS_IOC_GETFLAGS, { form: 'flags', length: 4, sets: false }],
  [abi.FS_IOC_SETFLAGS, { form: 'flags', length: 4, sets: true }],
  [abi.FS_IOC_FSGETXATTR, { form: 'fsxattr', length: 28, sets: false }],
  [abi.FS_IOC_FSSETXATTR, { form: 'fsxattr', length: 28, sets: true }],
])

/** Programs try many commands on files (isatty(3) among them). The file system knows only these. */
export const ioctl = row(
  'IOCTL',
  ({ body }) => decodeIoctlIn(body),
  ({ fileSystem, writable }, { nodeId }, reply, { command, data, room }) => {
    const form = FLAGS_FORMS.get(command)
    if (form === undefined) throw new FsError('ENOTTY', `ioctl 0x${command.toString(16)}`)
    if (form.sets) {
      if (writable === undefined) throw new FsError('EROFS', 'ioctl')
      if (data.length < form.length) throw new FsError('EINVAL', `ioctl: ${data.length} bytes of flags`)
      writable.setInodeFlags(nodeId, form.form, data)
      return replyIoctl(reply, data.subarray(0, Math.min(room, form.length)))
    }
    const flags = fileSystem.inodeFlags?.(nodeId, form.form)
    if (flags === undefined) throw new FsError('ENOTTY', 'no inode flags')
    return replyIoctl(reply, flags.subarray(0, room))
  },
)

/** `struct fuse_ioctl_out` of a command that succeeded. */
function replyIoctl(reply: Reply, data: Uint8Array): Outcome {
  reply.zeros(16)
  reply.data(data)
  return 'reply'
}
