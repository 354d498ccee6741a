import { writeSync } from 'node:fs'
import { InlineDataPath, Protocol, runDeviceLoop } from '../../../src/fuse/index.ts'
import { pread } from '../../../src/sys/files/file-io.ts'
import { mountFuse } from '../../../src/sys/mounts/mount.ts'
import { MemoryTree } from './memory-tree.ts'

/**
 * Serves a `MemoryTree` on a target until it is unmounted: the write side of the protocol with a real kernel and
 * nothing else. Writes `ready` and what was negotiated, one line per request with `debug`, and at the end which
 * inodes are left.
 */
const [target, folder, ...words] = process.argv.slice(2)
if (target === undefined || folder === undefined) {
  throw new Error('usage: serve-main TARGET FOLDER [write-back] [debug]')
}
const say = (line: string): void => {
  writeSync(1, `${line}\n`)
}

const tree = new MemoryTree(folder)
const store = {
  readBlock: () => {
    throw new Error('there are no blocks here')
  },
}
const { fuseFd } = await mountFuse({
  target,
  fsname: 'memory-tree',
  readOnly: false,
  nosuid: false,
  nodev: false,
  noexec: false,
  allowOther: true,
  defaultPermissions: true,
})
const protocol = new Protocol({
  namesTrusted: true,
  fileSystem: tree,
  writable: tree,
  kernel: { writeback: words.includes('write-back'), debug: words.includes('debug') },
  dataPath: new InlineDataPath(tree, store, pread, 1 << 20, { shortReads: true }),
  log: (level, message) => say(`${level}: ${message}`),
  onInit: ({ minor, flags }) => say(`ready minor=${minor} flags=${flags.toString(16)}`),
})
runDeviceLoop({ fd: fuseFd, protocol, log: (level, message) => say(`${level}: ${message}`), spins: 20 })
say(`left ${tree.left().join(' ')}`)
tree.close()
