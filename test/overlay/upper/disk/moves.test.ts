import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { exchangeNames, moveToNew } from '../../../../overlay/upper/disk/moves.ts'
import { WorkDirectory } from '../../../../overlay/upper/disk/work-directory.ts'
import { FsError } from '../../../../src/base/index.ts'
import { makeTempDir, removeTempDir } from '../../../library/index.ts'

/** Renames where the file system has the flags of renameat2(2), and where it has none, as with libfuse 2 and NFS. */

const flags = vi.hoisted(() => ({ areKnown: true }))
vi.mock('../../../../src/sys/files/at.ts', async (load) => {
  const actual = await load<typeof import('../../../../src/sys/files/at.ts')>()
  const renameAt: typeof actual.renameAt = (fromDir, from, toDir, to, flag) => {
    if (flag !== 0 && !flags.areKnown) throw new FsError('EINVAL', 'rename: flags')
    actual.renameAt(fromDir, from, toDir, to, flag)
  }
  return { ...actual, renameAt }
})

let folder = ''
let dir = 0
let work: WorkDirectory
beforeEach(() => {
  folder = makeTempDir()
  for (const name of ['dir', 'work', 'dir/tree', 'dir/tree/in']) mkdirSync(join(folder, name))
  for (const name of ['a', 'b']) writeFileSync(join(folder, 'dir', name), name)
  dir = openSync(join(folder, 'dir'), 'r')
  const fd = openSync(join(folder, 'work'), 'r')
  work = new WorkDirectory(fd, join(folder, 'work'))
  work.clean()
  closeSync(fd)
})
afterEach(() => {
  flags.areKnown = true
  closeSync(dir)
  work.close()
  removeTempDir(folder)
})

const textOf = (name: string): string => readFileSync(join(folder, 'dir', name), 'utf8')
const codeOf = (action: () => void): string => {
  try {
    action()
  } catch (error) {
    return (error as FsError).code
  }
  return ''
}

test.each([true, false])('a file gets a name that nothing has; flags known: %s', (areKnown) => {
  flags.areKnown = areKnown
  expect(codeOf(() => moveToNew(dir, 'a', dir, 'b'))).toBe('EEXIST')
  moveToNew(dir, 'a', dir, 'c')
  expect(readdirSync(join(folder, 'dir'))).toEqual(['b', 'c', 'tree'])
  expect(codeOf(() => moveToNew(dir, 'gone', dir, 'd'))).toBe('ENOENT')
})

test.each([true, false])('two names are exchanged, or stay as they were; flags known: %s', (areKnown) => {
  flags.areKnown = areKnown
  exchangeNames(dir, 'a', dir, 'b', work)
  expect([textOf('a'), textOf('b')]).toEqual(['b', 'a'])
  exchangeNames(dir, 'a', dir, 'tree', work)
  expect(readdirSync(join(folder, 'dir/a'))).toEqual(['in'])
  expect(textOf('tree')).toBe('b')
  expect(codeOf(() => exchangeNames(dir, 'gone', dir, 'b', work))).toBe('ENOENT')
  expect(textOf('b')).toBe('a')
  const inside = openSync(join(folder, 'dir/a'), 'r')
  expect(codeOf(() => exchangeNames(dir, 'a', inside, 'in', work))).toBe('EINVAL')
  closeSync(inside)
  expect(readdirSync(join(folder, 'dir/a'))).toEqual(['in'])
  expect(readdirSync(join(folder, 'work/work'))).toEqual([])
})
