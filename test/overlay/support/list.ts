import type { MergedTree } from '../../../overlay/merge/merged-tree.ts'
import {
  type DirectorySink,
  direntType,
  type Entry,
  type Name,
  type NodeId,
  ROOT_NODE_ID,
  S_IFDIR,
} from '../../../src/base/index.ts'

export interface Listed {
  readonly name: Name
  readonly ino: number
  readonly type: number
  readonly cookie: number
  readonly entry: Entry | undefined
}

/** Takes up to `room` entries. */
export class ListSink implements DirectorySink {
  readonly plus: boolean
  readonly taken: Listed[] = []
  readonly #room: number

  constructor(plus: boolean, room = Number.POSITIVE_INFINITY) {
    this.plus = plus
    this.#room = room
  }

  add(name: Name, ino: number, type: number, cookie: number, entry: Entry | undefined): boolean {
    if (this.taken.length >= this.#room) return false
    this.taken.push({ name, ino, type, cookie, entry })
    return true
  }
}

/** Everything, in one call. The references gained are given back. */
export function listAll(tree: MergedTree, node: NodeId, plus = false, cookie = 0): Listed[] {
  const sink = new ListSink(plus)
  tree.readdir(node, cookie, sink)
  forgetAll(tree, sink.taken)
  return sink.taken
}

export function forgetAll(tree: MergedTree, listed: readonly Listed[]): void {
  for (const { entry } of listed) {
    if (entry !== undefined) tree.forget(entry.nodeId, 1)
  }
}

/** Names without `.` and `..`. */
export function names(tree: MergedTree, path = '/'): Name[] {
  return listAll(tree, nodeAt(tree, path))
    .map(({ name }) => name)
    .filter((name) => name !== '.' && name !== '..')
}

/** Looks a path up; undefined where a part of it does not exist. References are kept. */
export function entryAt(tree: MergedTree, path: string): Entry | undefined {
  let entry: Entry = { nodeId: ROOT_NODE_ID, stat: tree.getattr(ROOT_NODE_ID) }
  for (const name of path.split('/').filter((part) => part !== '')) {
    const child = tree.lookup(entry.nodeId, name)
    if (child === undefined) return undefined
    entry = child
  }
  return entry
}

export function nodeAt(tree: MergedTree, path: string): NodeId {
  const entry = entryAt(tree, path)
  if (entry === undefined) throw new Error(`no ${path}`)
  return entry.nodeId
}

/** All paths of the tree in byte order of their names, directories with a slash at the end, `^` for merged ones. */
export function paths(tree: MergedTree, path = ''): string[] {
  return names(tree, path).flatMap((name) => {
    const child = `${path}/${name}`
    const { stat } = entryAt(tree, child) ?? { stat: undefined }
    if (stat === undefined) return [`${child} (listed only)`]
    if (direntType(stat.mode) !== direntType(S_IFDIR)) return [child.slice(1)]
    return [`${child.slice(1)}/${stat.nlink === 1 ? '^' : ''}`, ...paths(tree, child)]
  })
}
