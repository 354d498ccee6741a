import { lchownSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { needs, run, titled, unmount } from '../library/index.ts'
import { inScene, SILENT } from '../library/scenes/life.ts'

/** Copies where the upper shares data with the lower: nothing is written twice, and nothing waits for the disk. */

const FILES = 100
const SOME = 10

/** Times that a device was asked to bring all it has to the disk (Documentation/block/stat.rst). */
function flushes(device: string): number {
  const fields = readFileSync(`/sys/block/${basename(device)}/stat`, 'latin1')
    .trim()
    .split(/\s+/)
  return Number(fields[15])
}

for (const [kind, ...mkfs] of [
  ['btrfs', 'mkfs.btrfs', '-q'],
  ['xfs', 'mkfs.xfs', '-q'],
] as const) {
  const need = needs('root', 'fuse', 'loop', mkfs[0], 'findmnt')
  describe.skipIf(!need.ok)(titled(`on ${kind}`, need), () => {
    test('copies of files by reflink are not synced one by one, and are whole', async () => {
      await inScene(async ({ folder, target, atomfs }) => {
        const [file, disk] = [join(folder, 'file'), join(folder, 'disk')]
        writeFileSync(file, '')
        truncateSync(file, 512 << 20)
        await run(mkfs[0], [...mkfs.slice(1), file])
        mkdirSync(disk)
        await run('mount', ['-o', 'loop', file, disk])
        for (const path of ['l', 'u', 'w']) mkdirSync(join(disk, path))
        const content = (i: number) => `${i}\n`.repeat(i % 3 === 0 ? 40_000 : 1)
        for (let i = 0; i < FILES; i++) writeFileSync(join(disk, `l/f${i}`), content(i))
        await run('sync', ['-f', disk])
        const list = `lowerdir=${disk}/l,upperdir=${disk}/u,workdir=${disk}/w`
        expect(await atomfs('overlay', '-o', list, target)).toMatchObject(SILENT)
        const device = (await run('findmnt', ['-no', 'SOURCE', disk])).stdout.trim()
        const before = flushes(device)
        for (let i = 0; i < FILES; i++) lchownSync(join(target, `f${i}`), 5, 6)
        expect(flushes(device) - before).toBeLessThan(SOME)
        await unmount(target)
        for (let i = 0; i < FILES; i++) {
          const path = join(disk, `u/f${i}`)
          expect(readFileSync(path, 'latin1')).toBe(content(i))
          const { uid, gid, mtimeNs } = statSync(path, { bigint: true })
          const original = statSync(join(disk, `l/f${i}`), { bigint: true })
          expect([uid, gid, mtimeNs]).toEqual([5n, 6n, original.mtimeNs])
        }
      })
    })
  })
}
