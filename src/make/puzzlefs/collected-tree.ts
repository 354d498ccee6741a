import type { NewEntry } from '../../../squashfs/write/index.ts'
import { FsError, isDirectory, isRegular, type Name } from '../../base/index.ts'
import type { TreeItem } from '../tree-item.ts'

/** An inode of a tree, without its content. */
export interface CollectedFile {
  /** Its first name. */
  readonly path: Name
  readonly entry: Omit<NewEntry, 'content'>
  /** Of a directory. */
  readonly children?: Map<Name, CollectedFile>
  /** 0 until it is numbered. */
  ino: number
}

/** A file whose data will be read. */
export interface NumberedTree {
  /** Every inode once, in the order of numbers, with the names in it. */
  readonly inodes: readonly CollectedFile[]
  /** Regular files with content, in the order in which their data are to be stored. */
  readonly files: readonly CollectedFile[]
  /** Names that a directory of the image below has and this one has not, with their numbers. */
  readonly deleted: ReadonlyMap<CollectedFile, readonly (readonly [Name, number])[]>
}

/** What is known of an image on which a tree is built. */
export interface Numbers {
  readonly nextNumber: number
  numberOf(path: Name): number | undefined
  namesIn(path: Name): readonly (readonly [name: Name, ino: number])[]
}

/** All names of a tree. @param items without attributes that come later. @throws FsError EINVAL */
export function collectTree(items: Iterable<TreeItem>): CollectedFile {
  const known = new Map<Name, CollectedFile>()
  for (const item of items) {
    if ('attribute' in item) continue
    const { path } = item
    const linked = 'link' in item ? known.get(item.link) : undefined
    const file = 'entry' in item ? fileOf(path, item.entry) : linked
    if (file === undefined)
      throw new FsError('EINVAL', `${JSON.stringify(path)}: a link to what is not there`)
    known.set(path, file)
    if (path === '') continue
    const slash = path.lastIndexOf('/')
    const parent = known.get(slash < 0 ? '' : path.slice(0, slash))
    if (parent?.children === undefined) {
      throw new FsError('EINVAL', `${JSON.stringify(path)}: comes before its directory`)
    }
    parent.children.set(path.slice(slash + 1), file)
  }
  const root = known.get('')
  if (root?.children === undefined) throw new FsError('EINVAL', 'a tree without a root directory')
  return root
}

function fileOf(path: Name, { content: _, ...entry }: NewEntry): CollectedFile {
  return isDirectory(entry.mode) ? { path, entry, children: new Map(), ino: 0 } : { path, entry, ino: 0 }
}

/**
 * Numbers inodes as puzzlefs does: the root is 1; then come, directory by directory, all names of one in the order of their
 * bytes, before what lies deeper. Each name takes a number, also one more of a file that has one.
 * @param base what has the same path there keeps its number
 */
export function numberTree(root: CollectedFile, base?: Numbers): NumberedTree {
  const inodes: CollectedFile[] = [root]
  const files: CollectedFile[] = []
  const gone = new Map<CollectedFile, readonly (readonly [Name, number])[]>()
  root.ino = 1
  let next = base?.nextNumber ?? 2
  const taken = new Set([1])
  const pending = [root]
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    const below: CollectedFile[] = []
    const names = base?.namesIn(directory.path) ?? []
    gone.set(
      directory,
      names.filter(([name]) => directory.children?.has(name) !== true),
    )
    for (const [name, file] of sortedNames(directory)) {
      const path = directory.path === '' ? name : `${directory.path}/${name}`
      const before = base?.numberOf(path)
      // Two files may have been one file of two names.
      const isFree = before !== undefined && (file.ino === before || !taken.has(before))
      const number = isFree ? before : next
      if (!isFree) next += 1
      if (file.ino !== 0) continue
      file.ino = number
      taken.add(number)
      inodes.push(file)
      if (file.children !== undefined) below.push(file)
      if (isRegular(file.entry.mode) && (file.entry.size ?? 0) > 0) files.push(file)
    }
    pending.push(...below.reverse())
  }
  // What has another name is there still.
  const deleted = new Map(
    [...gone].map(([file, names]) => [file, names.filter(([, ino]) => !taken.has(ino))]),
  )
  return { inodes: inodes.sort((one, other) => one.ino - other.ino), files, deleted }
}

/** The names of a directory in the order of their bytes. */
export function sortedNames({
  children = new Map(),
}: CollectedFile): readonly (readonly [Name, CollectedFile])[] {
  return [...(children as Map<Name, CollectedFile>)].sort(([one], [other]) => (one < other ? -1 : 1))
}
