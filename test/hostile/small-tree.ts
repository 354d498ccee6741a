import { mkdirSync } from 'node:fs'
import { TreeBuilder } from '../library/trees/source-tree.ts'

/** A tree of some 60 entries and 250 KB, with files of several blocks, tails, links and attributes. @returns `root` */
export function smallTree(root: string): string {
  mkdirSync(root)
  const tree = new TreeBuilder(root, 31)
  const { random } = tree
  for (const path of ['a', 'a/b', 'a/b/c', 'many']) tree.directory(path)
  tree.file('a/random', random.bytes(90_000))
  tree.file('a/text', random.text(120_000))
  tree.file('a/b/zeros', Buffer.alloc(50_000))
  tree.file('a/b/empty')
  for (let i = 0; i < 40; i += 1) tree.file(`many/file-number-${i}`, random.text(random.int(0, 2500)))
  tree.link('a/b/c/hard', 'a/text')
  tree.symlink('a/b/c/link', '../../text')
  tree.xattr('a', 'user.note', random.text(100))
  tree.xattr('a/text', 'user.large', random.text(3000))
  tree.close()
  return root
}
