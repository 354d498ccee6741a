import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setXattr } from '../programs/native.ts'
import { run } from '../programs/process.ts'
import { Random } from './random.ts'
import { buildSourceTree, TreeBuilder } from './source-tree.ts'

export interface ExtTreeOptions {
  /** Names of the directory that gets an index, in pieces. */
  readonly names?: number
  /** A value fills a block, with what else is there. */
  readonly blockSize: number
  /** Values of attributes may be larger than a block. */
  readonly hasLargeValues?: boolean
}

/** Fills a mounted file system with what ext2, ext3 and ext4 store each in a way of their own. Needs root. */
export async function buildExtTree(
  root: string,
  { names = 3000, blockSize, hasLargeValues }: ExtTreeOptions,
): Promise<void> {
  const common = join(root, 'common')
  await run('mkdir', [common])
  // A value of nearly 4 KiB is a part of it.
  buildSourceTree(common, {
    size: 'small',
    noXattrs: blockSize < 4096 && !hasLargeValues,
    longestTarget: blockSize - 1,
  })
  const tree = new TreeBuilder(root, 7)
  for (const size of [0, 1, 31, 59, 60, 61, 100, 156, 160, 200, 300]) {
    tree.file(`small-${size}`, tree.random.text(size))
    if (size > 0) tree.symlink(`link-${size}`, 'x'.repeat(size))
  }
  tree.directory('few')
  for (const name of ['a', 'bb', 'c'.repeat(30)]) tree.file(`few/${name}`)
  addNames(tree, names)
  addAttributes(tree, blockSize, hasLargeValues === true)
  addFragmented(root, blockSize)
  const script = `
    cd "$1"
    fallocate -l 300k unwritten 2>/dev/null && printf data | dd of=unwritten bs=1 seek=100000 conv=notrunc status=none
    mkdir moved && for i in 1 2 3 4 5 6 7 8 9; do echo $i >moved/file-$i; done && rm moved/file-[2468]
    touch -d '1901-12-14 00:00:00.123456789' early
    touch -d '2038-01-20 00:00:00.987654321' late
    touch -d '2200-06-01 12:34:56.000000001' later
    setfacl -m u:1000:rwx,g:70000:r-x,m::rwx few
    setfacl -d -m u:1001:rw-,g::r-- few
    setfacl -m u:4000000000:r few/a
    truncate -s 3G mostly-hole && printf end | dd of=mostly-hole bs=1 seek=3000000000 conv=notrunc status=none
    true`
  await run('sh', ['-e', '-c', script, 'sh', root])
}

/** Hard links rather than files: as many names as there may be inodes are not needed. */
function addNames(tree: TreeBuilder, names: number): void {
  tree.directory('wide')
  tree.file('wide/0', 'linked\n')
  for (let i = 1; i < names; i++) {
    tree.link(
      `wide/name-${tree.random.int(0, 9999)}-${'n'.repeat(i % 120)}-${i}`,
      i % 20_000 === 0 ? 'wide/0' : 'small-1',
    )
  }
  for (let i = 0; i < 20; i++) tree.file(`wide/\xff\x80-signed-${i}`)
}

function addAttributes(tree: TreeBuilder, blockSize: number, hasLargeValues: boolean): void {
  const files = ['user-only', 'in-inode', 'in-block', 'large']
  for (const name of files) tree.file(`attributes-${name}`, name)
  tree.xattr('attributes-user-only', 'user.x', 'short')
  for (let i = 0; i < 4; i++) tree.xattr('attributes-in-inode', `user.n${i}`, `${i}`)
  tree.xattr('attributes-in-block', 'trusted.block', tree.random.bytes(blockSize / 2))
  tree.xattr('attributes-in-block', 'security.own', 'text')
  if (hasLargeValues) tree.xattr('attributes-large', 'user.large', tree.random.bytes(60_000))
  tree.symlink('attributes-link', 'small-1')
  tree.xattr('attributes-link', 'trusted.link', 'of a link')
}

/** Single blocks with holes between them: as many extents, and blocks below every sort of pointer. */
function addFragmented(root: string, blockSize: number): void {
  const random = new Random(3)
  const fd = openSync(join(root, 'fragmented'), 'w')
  const perBlock = blockSize / 4
  const far = [12 + perBlock, 12 + perBlock + perBlock ** 2].map((block) => block * blockSize)
  for (let i = 0; i < 700; i++) writeSync(fd, random.bytes(blockSize), 0, blockSize, i * 2 * blockSize)
  for (const position of far) {
    if (position > 2 ** 34) continue
    writeSync(fd, random.bytes(2 * blockSize), 0, 2 * blockSize, position - blockSize)
  }
  closeSync(fd)
  setXattr(Buffer.from(join(root, 'fragmented')), 'user.sparse', Buffer.from('yes'))
}
