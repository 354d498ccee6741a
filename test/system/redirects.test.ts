import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { HostDirectoryLayer } from '../../overlay/host/host-directory.ts'
import { MergedTree } from '../../overlay/merge/merged-tree.ts'
import { FsError, isDirectory, type NodeId, ROOT_NODE_ID } from '../../src/base/index.ts'
import {
  makeTempDir,
  mountKernelOverlay,
  needs,
  Random,
  removeTempDir,
  run,
  titled,
  unmount,
} from '../library/index.ts'
import { inScene } from '../library/scenes/life.ts'
import { listAll } from '../overlay/support/list.ts'
import { KernelSide } from '../overlay/upper/support/kernel-side.ts'
import type { Side } from '../overlay/upper/support/side.ts'
import { TreeSide } from '../overlay/upper/support/tree-side.ts'
import { REAL } from '../overlay/upper/support.ts'

/** Upper directories with renamed directories that are lower ones later, against overlayfs over the same directories. */

const need = needs('root', 'kernel-overlayfs', 'getfattr')
const withFuse = needs('root', 'fuse')

const NAMES = ['a', 'b', 'c', 'd']

/** Makes, renames and removes at random what a session would; what fails, fails. */
function change(side: Side, random: Random, round: number): void {
  const path = () => Array.from({ length: random.int(1, 3) }, () => random.pick(NAMES)).join('/')
  const operations = [
    () => side.rename(path(), path(), 'replace'),
    () => side.rename(path(), path(), 'replace'),
    () => side.rename(path(), path(), 'exchange'),
    () => side.mkdir(path(), 0o755),
    () => side.create(`${path()}/file${round}-${random.int(0, 99)}`, 0o644),
    () => side.rmdir(path()),
  ]
  for (let step = 0; step < 30; step++) {
    try {
      random.pick(operations)()
    } catch (error) {
      if (!(error instanceof FsError)) throw error
    }
  }
}

function fill(path: string, level: number): void {
  mkdirSync(path)
  writeFileSync(join(path, `of-${level}`), path.slice(-7))
  if (level < 3) for (const name of NAMES) fill(join(path, name), level + 1)
}

function pathsOfKernel(folder: string, shown = '', into: string[] = []): string[] {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat === undefined) continue
    into.push(`${shown}/${name} ${stat.mode}`)
    if (stat.isDirectory()) pathsOfKernel(path, `${shown}/${name}`, into)
  }
  return into
}

function pathsOfOurs(
  tree: MergedTree,
  node: NodeId = ROOT_NODE_ID,
  shown = '',
  into: string[] = [],
): string[] {
  for (const { name } of listAll(tree, node).slice(2)) {
    const entry = tree.lookup(node, name)
    if (entry === undefined) throw new Error(`${shown}/${name} is listed, so it must be there`)
    into.push(`${shown}/${name} ${entry.stat.mode}`)
    if (isDirectory(entry.stat.mode)) pathsOfOurs(tree, entry.nodeId, `${shown}/${name}`, into)
    tree.forget(entry.nodeId, 1)
  }
  return into
}

describe('renamed directories in layers against overlayfs', () => {
  test.skipIf(!need.ok)(
    titled('uppers of overlayfs and of our overlay with renamed directories work as lowers of both', need),
    async () => {
      let redirected = 0
      for (let seed = 1; seed <= 8; seed++) {
        const folder = makeTempDir()
        const random = new Random(seed)
        const at = (name: string) => join(folder, name)
        const lowers = [at('base')]
        const layers: HostDirectoryLayer[] = []
        const target = at('target')
        try {
          fill(at('base'), 0)
          mkdirSync(target)
          const rounds = random.int(2, 4)
          for (let round = 1; round <= rounds; round++) {
            const [upper, work] = [at(`upper${round}`), at(`work${round}`)]
            mkdirSync(upper)
            mkdirSync(work)
            const directories = `lowerdir=${lowers.toReversed().join(':')},upperdir=${upper},workdir=${work}`
            const side = random.chance(0.5)
              ? new KernelSide(target, `${directories},redirect_dir=on,index=off`)
              : new TreeSide({ lowers, upper, work }, { ...REAL, markers: 'trusted' }, {}, () => false)
            try {
              change(side, random, round)
            } finally {
              side.close()
            }
            lowers.push(upper)
          }
          await mountKernelOverlay(lowers.toReversed(), target, { extra: ['redirect_dir=follow'] })
          const kernel = pathsOfKernel(target).sort()
          // Parts that are not held are found again each time.
          for (const heldBytes of [1 << 20, 0]) {
            for (const path of lowers) layers.push(new HostDirectoryLayer(path, { followsRedirects: true }))
            const tree = new MergedTree(layers.slice(-lowers.length), { heldBytes })
            expect(pathsOfOurs(tree).sort(), `seed ${seed}`).toEqual(kernel)
          }
          const { stdout } = await run('getfattr', ['-R', '-h', '-m', 'overlay.redirect', ...lowers])
          redirected += stdout.split('trusted.overlay.redirect').length - 1
        } finally {
          for (const layer of layers) layer.close()
          await unmount(target)
          removeTempDir(folder)
        }
      }
      expect(redirected).toBeGreaterThan(8)
    },
  )

  test.skipIf(!withFuse.ok)(
    titled('redirect_dir=follow shows a directory that is an error without it', withFuse),
    async () => {
      await inScene(async ({ atomfs, target, folder }) => {
        const at = (path: string) => join(folder, path)
        for (const path of ['low/p/d', 'low/q', 'upper', 'work']) mkdirSync(at(path), { recursive: true })
        writeFileSync(at('low/p/d/file'), 'below')
        const places = `lowerdir=${at('low')},upperdir=${at('upper')},workdir=${at('work')}`
        const mount = async (options: string) => {
          const { status, stderr } = await atomfs('overlay', '-o', options, target)
          expect(stderr).toBe('')
          expect(status).toBe(0)
        }
        await mount(`${places},redirect_dir=on`)
        renameSync(join(target, 'p/d'), join(target, 'q/e'))
        renameSync(join(target, 'q'), join(target, 'r'))
        await unmount(target)
        const lowers = `lowerdir=${at('upper')}:${at('low')}`
        for (const wish of ['', ',redirect_dir=nofollow']) {
          await mount(`${lowers}${wish}`)
          expect(() => readdirSync(join(target, 'r'))).toThrow(/EIO/)
          await unmount(target)
        }
        await mount(`${lowers},redirect_dir=follow`)
        expect(readFileSync(join(target, 'r/e/file'), 'utf8')).toBe('below')
        expect(readdirSync(target)).toEqual(['p', 'r'])
        await unmount(target)
      })
    },
  )
})
