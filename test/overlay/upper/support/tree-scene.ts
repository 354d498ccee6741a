import { chmodSync, linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import type { UpperPolicy } from '../../../../overlay/stored/policy.ts'
import type { WritableTree, WritableTreeOptions } from '../../../../overlay/upper/writable-tree.ts'
import { type Name, type NodeId, ROOT_NODE_ID, S_IFREG, type Stat } from '../../../../src/base/index.ts'
import { setUmask0 } from '../../../../src/sys/process/session.ts'
import { makeTempDir, removeTempDir } from '../../../library/index.ts'
import { REAL } from '../support.ts'
import { SnapshotLayer } from './snapshot-layer.ts'
import { CALLER, listNames, OpenTree, readFile } from './tree-side.ts'

export const failsWith = (code: string) => expect.objectContaining({ code })

/** Ids of root for those tests that run as anybody. */
export const ME = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, umask: 0o022 }

/**
 * A writable tree over layers made from lines: `a/b = text`, `d/`, `l -> target`, `b == a` for a hard link. Everything
 * in the layers is from 2001.
 */
export class TreeScene {
  readonly folder = makeTempDir()
  readonly #layers: SnapshotLayer[]
  #policy: UpperPolicy
  #options: Partial<WritableTreeOptions>
  #open: OpenTree

  constructor(
    layers: readonly string[],
    policy: Partial<UpperPolicy> = {},
    options: Partial<WritableTreeOptions> = {},
  ) {
    setUmask0()
    this.#policy = { ...REAL, ...policy }
    this.#options = options
    this.#layers = layers.map((text, i) => {
      const root = join(this.folder, `l${i}`)
      mkdirSync(root)
      for (const line of text.split('\n').filter((one) => one.trim() !== '')) addLine(root, line.trim())
      return new SnapshotLayer(root, i)
    })
    for (const name of ['u', 'w']) mkdirSync(join(this.folder, name))
    this.#open = this.#mount()
  }

  #mount(): OpenTree {
    const places = { lowers: this.#layers, upper: this.upper(), work: join(this.folder, 'w') }
    return new OpenTree(places, this.#policy, this.#options)
  }

  get tree(): WritableTree {
    return this.#open.tree
  }

  /** Path of something in the upper directory. */
  upper(path = ''): string {
    return join(this.folder, 'u', path)
  }

  remount(options: Partial<WritableTreeOptions> = {}, policy: Partial<UpperPolicy> = {}): void {
    this.#open.close()
    this.#policy = { ...this.#policy, ...policy }
    this.#options = { ...this.#options, ...options }
    this.#open = this.#mount()
  }

  close(): void {
    this.#open.close()
    removeTempDir(this.folder)
  }

  /** Looks a path up, and keeps the references, as open files do. */
  node(path: string): NodeId {
    let node = ROOT_NODE_ID
    for (const name of path.split('/').filter((part) => part !== '')) {
      const entry = this.tree.lookup(node, name)
      if (entry === undefined) throw new Error(`no ${name} of ${path}`)
      node = entry.nodeId
    }
    return node
  }

  exists(path: string): boolean {
    const parent = dirname(path)
    return (
      this.tree.lookup(this.node(parent === '.' ? '' : parent), path.slice(path.lastIndexOf('/') + 1)) !==
      undefined
    )
  }

  stat(path: string): Stat {
    return this.tree.getattr(this.node(path))
  }

  read(node: NodeId | string): string {
    return readFile(this.tree, typeof node === 'string' ? this.node(node) : node, this.#open.store)
  }

  names(path = '', room = 3): Name[] {
    return listNames(this.tree, this.node(path), room).sort()
  }

  create(path: string, content = '', mode = 0o644): NodeId {
    const [parent, name] = this.#split(path)
    const { nodeId } = this.tree.mknod(parent, name, S_IFREG | mode, 0, { ...ME, umask: CALLER.umask })
    if (content !== '') this.tree.write(nodeId, 0, Buffer.from(content), false)
    return nodeId
  }

  mkdir(path: string, mode = 0o755): NodeId {
    const [parent, name] = this.#split(path)
    return this.tree.mkdir(parent, name, mode, { ...ME, umask: CALLER.umask }).nodeId
  }

  unlink(path: string): void {
    this.tree.unlink(...this.#split(path))
  }

  rmdir(path: string): void {
    this.tree.rmdir(...this.#split(path))
  }

  rename(from: string, to: string, mode: 'replace' | 'noreplace' | 'exchange' = 'replace'): void {
    this.tree.rename(...this.#split(from), ...this.#split(to), mode, false)
  }

  link(from: string, to: string): NodeId {
    return this.tree.link(this.node(from), ...this.#split(to)).nodeId
  }

  #split(path: string): [NodeId, Name] {
    const at = path.lastIndexOf('/')
    return [this.node(at < 0 ? '' : path.slice(0, at)), path.slice(at + 1)]
  }
}

/** A scene for the time of `use`. */
export function withTree(
  layers: readonly string[],
  use: (scene: TreeScene) => void,
  policy: Partial<UpperPolicy> = {},
  options: Partial<WritableTreeOptions> = {},
): void {
  const scene = new TreeScene(layers, policy, options)
  try {
    use(scene)
  } finally {
    scene.close()
  }
}

function addLine(root: string, line: string): void {
  const [, path = '', kind, value = ''] = /^(\S+?)(?: (=|==|->) (.*))?$/.exec(line) ?? []
  const target = join(root, path)
  mkdirSync(path.endsWith('/') ? target : dirname(target), { recursive: true })
  if (path.endsWith('/')) return
  if (kind === '->') symlinkSync(value, target)
  else if (kind === '==') linkSync(join(root, value), target)
  else {
    writeFileSync(target, value)
    chmodSync(target, 0o644)
  }
  if (kind !== '->') utimesSync(target, 1_000_000_000, 1_000_000_000)
}
