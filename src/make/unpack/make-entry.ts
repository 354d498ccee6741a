import { isRegular, isSymlink, type Stat } from '../../base/index.ts'
import { beginFile, type FileAttributes, finishFile, makeSpecial, type Owners } from '../../contents/index.ts'
import { pwrite } from '../../sys/files/file-io.ts'
import type { TreeEntry } from '../tree-item.ts'
import type { Place } from './place.ts'

/**
 * Makes anything but a directory. It has its name when it is whole.
 * @param place whose name is free
 * @returns how many attributes the file cannot have; undefined for a device that this user may not make
 * @throws FsError ENOSPC, EPERM, EIO, …
 */
export async function makeEntry(place: Place, entry: TreeEntry, owners: Owners): Promise<number | undefined> {
  const attributes = attributesOf(entry)
  const manner = { owners, replaces: true }
  if (!isRegular(entry.mode)) {
    return makeSpecial({ ...place, attributes, ...(entry.target && { target: entry.target }) }, manner)?.left
  }
  const what = { ...place, attributes }
  const file = beginFile(what)
  try {
    const end = await writeData(file.fd, entry.placed ?? inOrder(entry.content ?? []))
    return finishFile(file, what, manner, end).left
  } finally {
    file.close()
  }
}

type Placed = NonNullable<TreeEntry['placed']>

/** Zeros become holes. @returns where the last data end */
async function writeData(fd: number, content: Placed): Promise<number> {
  let end = 0
  for await (const { offset, bytes } of content) {
    if (isZero(bytes)) continue
    for (let done = 0; done < bytes.length; ) done += pwrite(fd, offset + done, bytes.subarray(done))
    end = offset + bytes.length
  }
  return end
}

async function* inOrder(
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly offset: number; readonly bytes: Uint8Array }> {
  let offset = 0
  for await (const bytes of content) {
    yield { offset, bytes }
    offset += bytes.length
  }
}

const ZEROS = Buffer.alloc(64 << 10)

function isZero(piece: Uint8Array): boolean {
  for (let at = 0; at < piece.length; at += ZEROS.length) {
    const part = piece.subarray(at, at + ZEROS.length)
    if (ZEROS.compare(part, 0, part.length, 0, part.length) !== 0) return false
  }
  return true
}

/** What a file gets of its entry. Access and change are as old as the content. */
export function attributesOf(entry: TreeEntry): FileAttributes {
  const { mode, uid, gid, mtime, rdev = 0, size = 0, target, xattrs = [] } = entry
  const { seconds, nanoseconds } = entry.time ?? exact(mtime)
  const stat: Stat = {
    ...{ ino: 0, nlink: 1, blocks: 0, blksize: 4096 },
    ...{ mode, uid, gid, rdev },
    size: isSymlink(mode) ? (target?.length ?? 0) : size,
    ...{ atime: seconds, mtime: seconds, ctime: seconds },
    ...{ atimeNsec: nanoseconds, mtimeNsec: nanoseconds, ctimeNsec: nanoseconds },
  }
  return { stat, xattrs }
}

function exact(mtime: number): { readonly seconds: number; readonly nanoseconds: number } {
  const seconds = Math.floor(mtime)
  return { seconds, nanoseconds: Math.min(Math.round((mtime - seconds) * 1e9), 999_999_999) }
}
