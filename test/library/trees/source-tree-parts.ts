import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { S_IFIFO } from '../../../src/base/index.ts'
import type { SourceTreeOptions, TreeBuilder } from './source-tree.ts'

/** Longest value that a file of ext4 with its default options takes is a little under one block. */
const LARGE_VALUE = 3900

/** Attributes of every kind and size, on every type that may have them (xattr(7): `user` on files and directories). */
export function addXattrs(tree: TreeBuilder, options: SourceTreeOptions): void {
  tree.directory('xattrs')
  tree.file('xattrs/one', 'x')
  tree.xattr('xattrs/one', 'user.comment', 'short')
  tree.file('xattrs/all', 'x')
  tree.xattr('xattrs/all', 'user.a', 'A')
  tree.xattr('xattrs/all', 'trusted.b', 'B')
  tree.xattr('xattrs/all', 'security.c', Buffer.from([0, 1, 2, 255]))
  tree.file('xattrs/empty-value')
  tree.xattr('xattrs/empty-value', 'user.empty', '')
  tree.file('xattrs/large')
  tree.xattr('xattrs/large', 'user.large', tree.random.bytes(LARGE_VALUE))
  // The same large value again: packers store it once and refer to it (out of line).
  const shared = tree.random.bytes(1500)
  for (const name of ['shared-1', 'shared-2', 'shared-3']) {
    tree.file(`xattrs/${name}`, name)
    tree.xattr(`xattrs/${name}`, 'user.shared', shared)
    tree.xattr(`xattrs/${name}`, `user.own-${name}`, name)
  }
  tree.file('xattrs/many')
  for (let i = 0; i < 40; i += 1) tree.xattr('xattrs/many', `user.n${i}`, `${i}`.repeat(i % 7))
  tree.file('xattrs/long-name')
  tree.xattr('xattrs/long-name', `user.${'n'.repeat(250)}`, 'long')
  tree.file('xattrs/capability', '#!/bin/sh\n', 0o755)
  // linux/capability.h, vfs_cap_data revision 2: cap_net_raw permitted and effective.
  const capability = Buffer.alloc(20)
  capability.writeUInt32LE(0x0200_0001, 0)
  capability.writeUInt32LE(1 << 13, 4)
  tree.xattr('xattrs/capability', 'security.capability', capability)
  tree.directory('xattrs/directory')
  tree.xattr('xattrs/directory', 'user.on-directory', 'yes')
  tree.xattr('xattrs/directory', 'trusted.on-directory', 'yes')
  if (options.noSymlinkXattrs) return
  tree.symlink('xattrs/symlink', 'one')
  tree.xattr('xattrs/symlink', 'trusted.on-symlink', 'target')
  tree.xattr('xattrs/symlink', 'security.on-symlink', 'target')
  tree.node('xattrs/fifo', S_IFIFO)
  tree.xattr('xattrs/fifo', 'trusted.on-fifo', 'f')
}

const GIB = 2 ** 30

/** A file with islands of data in a sea of holes; the full one crosses 2^32 bytes, where a size needs 64 bits. */
export function addSparse(tree: TreeBuilder, full: boolean): void {
  const size = full ? 5 * GIB : 8 * 2 ** 20
  tree.file('sparse')
  const fd = openSync(tree.at('sparse'), 'r+')
  try {
    ftruncateSync(fd, size)
    const islands = full
      ? [0, GIB - 100, 2 ** 31 + 5, 2 ** 32 - 70_000, 2 ** 32 + 999_999]
      : [0, 1_000_000, 5_000_001]
    for (const at of islands) {
      const data = tree.random.text(200_000)
      writeSync(fd, data, 0, data.length, at)
    }
    writeSync(fd, Buffer.from('end'), 0, 3, size - 3)
  } finally {
    closeSync(fd)
  }
  tree.file('all-hole')
  const hole = openSync(tree.at('all-hole'), 'r+')
  try {
    ftruncateSync(hole, 1_000_001)
  } finally {
    closeSync(hole)
  }
}
