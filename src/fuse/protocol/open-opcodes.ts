import * as abi from './abi.ts'
import type { Reply } from './encode.ts'
import { nothing, type Operation, row } from './operation.ts'

/** Counts the files and directories that are open. */
export interface OpenCounter {
  add(counter: 'openFiles', amount: number): void
}

/**
 * The rows of a read-only mount that has to know what is open. With ENOSYS in their place the kernel would not tell
 * (`OPERATIONS`); the flags keep its caches, as they are kept there.
 */
export function countingOperations(counter: OpenCounter | undefined): ReadonlyMap<number, Operation> {
  const open = (name: string, flags: number): Operation =>
    row(name, nothing, (_context, _request, reply) => {
      counter?.add('openFiles', 1)
      return replyOpen(reply, flags)
    })
  const release = (name: string): Operation =>
    row(name, nothing, () => {
      counter?.add('openFiles', -1)
      return 'reply'
    })
  return new Map([
    [abi.FUSE_OPEN, open('OPEN', abi.FOPEN_KEEP_CACHE)],
    [abi.FUSE_OPENDIR, open('OPENDIR', abi.FOPEN_KEEP_CACHE + abi.FOPEN_CACHE_DIR)],
    [abi.FUSE_RELEASE, release('RELEASE')],
    [abi.FUSE_RELEASEDIR, release('RELEASEDIR')],
  ])
}

/** `struct fuse_open_out`: there is no handle. */
export function replyOpen(reply: Reply, flags: number): 'reply' {
  reply.u64(0)
  reply.u32(flags)
  reply.u32(0)
  return 'reply'
}
