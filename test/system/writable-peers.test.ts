import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  mksquashfs,
  needs,
  readInodes,
  run,
  runProgram,
  titled,
  UNVERIFIED,
  withAtomfs,
  withTempDir,
} from '../library/index.ts'

/** Where other overlays in user space fail: each case first on a plain directory, then on ours. */

const need = needs('root', 'fuse', 'mksquashfs')

interface Place {
  readonly temp: string
  readonly tree: string
  readonly image: string
  readonly args: readonly string[]
}

function fill(directory: string): void {
  mkdirSync(join(directory, 'sub'), { recursive: true })
  for (const name of ['below', 'sub/below']) writeFileSync(join(directory, name), 'from below')
}

/** A tree, an image of it and an empty upper. */
function withPlace<T>(use: (place: Place) => Promise<T>): Promise<T> {
  return withTempDir(async (temp) => {
    const [tree, upper] = [join(temp, 'tree'), join(temp, 'upper')]
    fill(tree)
    mkdirSync(upper)
    const image = await mksquashfs(tree, join(temp, 'image.squashfs'))
    return await use({ temp, tree, image, args: [...UNVERIFIED, '--upper', upper] })
  })
}

async function runCase(name: string, directory: string): Promise<unknown> {
  return JSON.parse(await runProgram('changes/peers-main', [name, directory]))
}

const EXPECTED: Readonly<Record<string, object>> = {
  unlinkedNew: { links: 0, size: 7, mode: '640', content: 'sOme\0\0!', isGone: true },
  unlinkedBelow: { links: 0, size: 7, mode: '640', content: 'sOme\0\0!', isGone: true },
  unnamed: {
    before: { links: 0, names: false },
    after: { links: 1, content: 'unnamed' },
    again: 'EEXIST',
    never: 'ENOENT',
  },
  longPaths: { length: 4095, content: 'deep', list: 1, tooLong: 'ENAMETOOLONG', left: false },
  longNames: { limit: 255, made: ['ok', 'ok'], tooLong: 'ENAMETOOLONG', listed: 1 },
  modes: {
    '0': '777 666 640 1777 6777',
    '22': '755 644 640 1755 6755',
    '77': '700 600 600 1700 6700',
    '527': '250 240 240 1250 6250',
  },
  numbers: {
    steps: ['chmod true', 'link true', 'rename true', 'write true', 'times true', 'back true'],
    agree: true,
  },
  openBefore: {
    before: 'from below',
    after: 'after!!!!!',
    mapped: 'after',
    mode: '604',
    replaced: { links: 0, content: 'after!!!!!' },
    now: 'new',
  },
  goneDirectory: { names: 0, links: 0, create: 'ENOENT', up: 'ok', below: false },
  shell: ['FROM BELOWFROM BELOWlocked', 'a b c removed', ''],
}

describe.skipIf(!need.ok)(titled('known faults of other overlays', need), () => {
  test.each(Object.entries(EXPECTED))(
    'our overlay does right what other overlays get wrong: %s',
    async (name, expected) => {
      await withPlace(async ({ temp, tree, image, args }) => {
        await withAtomfs(
          temp,
          image,
          async ({ target }) => {
            expect(await runCase(name, target), 'ours').toMatchObject(expected)
          },
          args,
        )
        expect(await runCase(name, tree), 'a plain directory').toMatchObject(expected)
      })
    },
  )

  test('inode numbers stay the same over a remount after changes', async () => {
    await withPlace(async ({ temp, image, args }) => {
      const before = await withAtomfs(temp, image, ({ target }) => readInodes(target), args)
      const changed = await withAtomfs(
        temp,
        image,
        async ({ target }) => {
          await runCase('numbers', target)
          return await readInodes(target)
        },
        args,
      )
      const after = await withAtomfs(temp, image, ({ target }) => readInodes(target), args)
      for (const name of ['.', 'below', 'sub']) expect(changed.get(name), name).toBe(before.get(name))
      expect(changed.get('linked')).toBe(before.get('below'))
      expect(after).toEqual(changed)
    })
  })

  test('programs with different umasks at the same time get their own modes', async () => {
    await withPlace(async ({ temp, image, args }) => {
      await withAtomfs(
        temp,
        image,
        async ({ target }) => {
          const script = (mask: string) =>
            `umask ${mask}; for i in $(seq 60); do mkfifo ${mask}-$i; mkdir ${mask}-d$i; : > ${mask}-f$i; done`
          await Promise.all(
            ['000', '027', '077'].map((mask) => run('sh', ['-c', script(mask)], { cwd: target })),
          )
          const list = (pattern: string) =>
            run('sh', ['-c', `find . -name '${pattern}-*' -printf '%y%m\\n' | sort | uniq -c`], {
              cwd: target,
            })
          const counts = async (mask: string) => (await list(mask)).stdout.trim().split(/\s+/)
          expect(await counts('000')).toEqual(['60', 'd777', '60', 'f666', '60', 'p666'])
          expect(await counts('027')).toEqual(['60', 'd750', '60', 'f640', '60', 'p640'])
          expect(await counts('077')).toEqual(['60', 'd700', '60', 'f600', '60', 'p600'])
        },
        args,
      )
    })
  })

  const sqlite = needs('sqlite3')
  test.skipIf(!sqlite.ok).each(['DELETE', 'WAL'])(
    titled('SQLite writes and checks a database in a mount, journal mode %s', sqlite),
    async (mode) => {
      await withPlace(async ({ temp, image, args }) => {
        await withAtomfs(
          temp,
          image,
          async ({ target }) => {
            const sql = (text: string) => run('sqlite3', ['-bail', 'data.db'], { cwd: target, input: text })
            await sql(`PRAGMA journal_mode=${mode}; CREATE TABLE t(i INTEGER, b BLOB);`)
            const writer = (first: number) =>
              Array.from(
                { length: 30 },
                (_, i) =>
                  `BEGIN IMMEDIATE; INSERT INTO t VALUES(${first + i}, randomblob(${i * 300})); ${i % 4 === 3 ? 'ROLLBACK' : 'COMMIT'};`,
              ).join('\n')
            await Promise.all([0, 100, 200].map((first) => sql(`.timeout 30000\n${writer(first)}`)))
            const { stdout } = await sql('SELECT count(*) FROM t; PRAGMA integrity_check;')
            expect(stdout.split('\n')).toEqual(['69', 'ok', ''])
          },
          args,
        )
      })
    },
  )
})
