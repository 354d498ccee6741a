import { lstatSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { S_IFBLK, S_IFCHR, S_IFIFO } from '../../../src/base/index.ts'
import type { Random } from '../trees/random.ts'
import { TreeBuilder } from '../trees/source-tree.ts'

export interface LayerOptions {
  readonly seed: number
  /** Layers, 2 to 8; chosen by the seed if absent. */
  readonly count?: number
  /** How opaque directories are marked. `user` needs the mount option `userxattr` in the kernel. */
  readonly form?: 'trusted' | 'user'
  /** Changes that each layer makes, 40 if absent. */
  readonly changes?: number
}

type Kind = 'directory' | 'other'

/** Few names, so that layers meet often. */
const NAMES = ['a', 'b', 'c', 'd', 'etc', 'lib', 'x y', 'z\n', '\xff', '.h']
const DEPTH_LIMIT = 5

/**
 * Makes random directories that are layers of one image: each one changes what is below it by whiteouts
 * (char 0:0), opaque directories, replacements of files by directories and the reverse, new hard links, symbolic
 * links, devices and attributes. Needs root.
 * @param parent gets the directories `layer0`…, bottom first.
 * @returns their paths, bottom first.
 */
export function buildLayers(parent: string, options: LayerOptions): string[] {
  const merged = new Map<string, Kind>()
  const directories: string[] = []
  let count = options.count ?? 0
  for (let i = 0; i === 0 || i < count; i += 1) {
    const directory = join(parent, `layer${i}`)
    mkdirSync(directory)
    const tree = new TreeBuilder(directory, options.seed * 1000 + i)
    if (count === 0) count = tree.random.int(2, 8)
    new LayerWriter(tree, merged, options.form ?? 'trusted').write(options.changes ?? 40, i === 0)
    directories.push(directory)
  }
  return directories
}

/** One layer in the making, on top of the merged tree `merged`, which it keeps up to date. */
class LayerWriter {
  readonly #tree: TreeBuilder
  readonly #random: Random
  readonly #merged: Map<string, Kind>
  readonly #form: 'trusted' | 'user'
  /** What this layer holds itself; a name is written once. */
  readonly #own = new Map<string, Kind>()

  constructor(tree: TreeBuilder, merged: Map<string, Kind>, form: 'trusted' | 'user') {
    this.#tree = tree
    this.#random = tree.random
    this.#merged = merged
    this.#form = form
  }

  write(changes: number, isBottom: boolean): void {
    this.#tree.mtime('', 1_500_000_000 + this.#random.int(0, 1000))
    for (let i = 0; i < changes; i += 1) this.#change(isBottom)
    this.#tree.close()
  }

  #change(isBottom: boolean): void {
    const path = this.#choosePath()
    if (path === undefined || this.#own.has(path)) return
    const below = this.#merged.get(path)
    const dice = this.#random.int(0, 99)
    if (below !== undefined && dice < 25 && !isBottom) this.#whiteout(path)
    else if (below === undefined && dice < 3) this.#whiteout(path)
    else if (dice < 55) this.#addDirectory(path, below)
    else this.#addOther(path)
  }

  /** A name in an existing directory of the merged tree, whose own copy this layer then has. */
  #choosePath(): string | undefined {
    let parent = ''
    for (let depth = 0; depth < DEPTH_LIMIT && this.#random.chance(0.75); depth += 1) {
      const children = this.#childDirectories(parent)
      if (children.length === 0) break
      parent = this.#random.pick(children)
    }
    this.#ensure(parent)
    const name = this.#random.pick(NAMES)
    return parent === '' ? name : `${parent}/${name}`
  }

  #childDirectories(parent: string): string[] {
    const prefix = parent === '' ? '' : `${parent}/`
    return [...this.#merged]
      .filter(
        ([path, kind]) =>
          kind === 'directory' && path.startsWith(prefix) && !path.slice(prefix.length).includes('/'),
      )
      .map(([path]) => path)
      .sort()
  }

  /** A directory of a layer below is repeated here, with attributes of its own, before something goes into it. */
  #ensure(path: string): void {
    if (path === '' || this.#own.has(path)) return
    this.#ensure(path.split('/').slice(0, -1).join('/'))
    this.#directory(path)
  }

  #directory(path: string): void {
    this.#tree.directory(path, this.#random.pick([0o755, 0o750, 0o1777, 0o700]))
    this.#decorate(path, true)
    this.#own.set(path, 'directory')
  }

  #addDirectory(path: string, below: Kind | undefined): void {
    this.#directory(path)
    const opaque = below === 'directory' ? this.#random.chance(0.4) : this.#random.chance(0.1)
    if (opaque) this.#tree.xattr(path, `${this.#form}.overlay.opaque`, 'y')
    if (opaque || below === 'other') this.#forget(path)
    this.#merged.set(path, 'directory')
  }

  #whiteout(path: string): void {
    this.#tree.node(path, S_IFCHR, 0, 0, 0)
    this.#own.set(path, 'other')
    this.#forget(path)
  }

  #addOther(path: string): void {
    this.#forget(path)
    const dice = this.#random.int(0, 99)
    const existing = [...this.#own]
      .filter(([name, kind]) => kind === 'other' && !this.#isWhiteout(name))
      .map(([name]) => name)
    if (dice < 20 && existing.length > 0) this.#tree.link(path, this.#random.pick(existing))
    else if (dice < 35)
      this.#tree.symlink(path, this.#random.pick(['a', '../b', '/etc/z\n', '\xff', 'x/'.repeat(60)]))
    else if (dice < 40) this.#tree.node(path, S_IFIFO)
    else if (dice < 45)
      this.#tree.node(
        path,
        this.#random.pick([S_IFBLK, S_IFCHR]),
        this.#random.int(1, 300),
        this.#random.int(0, 999),
      )
    else {
      this.#tree.file(
        path,
        this.#random.text(this.#random.int(0, 9000)),
        this.#random.pick([0o644, 0o755, 0o4755, 0o600]),
      )
      this.#decorate(path, false)
    }
    this.#own.set(path, 'other')
    this.#merged.set(path, 'other')
  }

  #isWhiteout(path: string): boolean {
    const stat = lstatSync(this.#tree.at(path))
    return stat.isCharacterDevice() && stat.rdev === 0
  }

  #decorate(path: string, isDirectory: boolean): void {
    if (this.#random.chance(0.3))
      this.#tree.xattr(path, 'user.note', this.#random.bytes(this.#random.int(0, 60)))
    if (this.#random.chance(isDirectory ? 0.2 : 0.1)) this.#tree.xattr(path, 'trusted.mark', path)
    if (this.#random.chance(0.3)) this.#tree.owner(path, this.#random.int(0, 3000), this.#random.int(0, 3000))
  }

  /** Takes a name and all below it out of the merged tree. */
  #forget(path: string): void {
    for (const name of [...this.#merged.keys()]) {
      if (name === path || name.startsWith(`${path}/`)) this.#merged.delete(name)
    }
  }
}
