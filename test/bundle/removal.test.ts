import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { MARK, ROOTFS, undo } from '../../src/bundle/removal.ts'
import { withTempDir } from '../library/index.ts'

/** What a process had made of a bundle when it was killed: names of files, and of directories with a slash. */
const KILLED: readonly (readonly string[])[] = [
  [],
  [`${MARK}.new`],
  [MARK],
  [MARK, `${ROOTFS}/`],
  [MARK, `${ROOTFS}/`, 'changes/'],
  [MARK, `${ROOTFS}/`, 'changes/', 'config.json.new'],
  [MARK, 'config.json', `${ROOTFS}/`, 'changes/', 'runtime/', 'runtime/state'],
]

function make(directory: string, names: readonly string[]): void {
  mkdirSync(directory)
  for (const name of names) {
    if (name.endsWith('/')) mkdirSync(join(directory, name))
    else writeFileSync(join(directory, name), '')
  }
}

test.each(KILLED.map((names) => [names]))('a bundle that is %j is removed as a whole', (names) =>
  withTempDir(async (temp) => {
    make(join(temp, 'bundle'), names)
    await undo({ directory: join(temp, 'bundle') }, temp)
    expect(readdirSync(temp).filter((name) => name === 'bundle')).toEqual([])
    await undo({ directory: join(temp, 'bundle') }, temp)
  }),
)

test.each([[[]], [[`${MARK}.new`]], [undefined]])(
  'a runtime that makes its directory to remove a container makes nothing anew: %j',
  (names: readonly string[] | undefined) =>
    withTempDir(async (temp) => {
      const directory = join(temp, 'bundle')
      if (names !== undefined) make(directory, names)
      await undo({ directory, remove: ['mkdir', '-p', join(directory, 'runtime')] }, temp)
      expect(readdirSync(temp).filter((name) => name === 'bundle')).toEqual([])
    }),
)

test('what is no bundle stays as it is, and what somebody has put into a bundle is an error', () =>
  withTempDir(async (temp) => {
    const [other, mixed] = [join(temp, 'other'), join(temp, 'mixed')]
    make(other, ['file', 'config.json'])
    await undo({ directory: other }, temp)
    expect(readdirSync(other)).toEqual(['config.json', 'file'])
    make(mixed, [MARK, 'file'])
    await expect(undo({ directory: mixed }, temp)).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    expect(readdirSync(mixed)).toEqual([MARK, 'file'])
  }))
