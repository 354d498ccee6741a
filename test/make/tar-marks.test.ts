import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openSquashfs } from '../../src/library/squashfs.ts'
import { TarMarks } from '../../src/make/tar-marks.ts'
import { tarTree } from '../../src/make/tar-tree.ts'
import { nothingLeftOut } from '../../src/make/tree-item.ts'
import { writeImage } from '../../src/make/write-image.ts'
import { tarEnd, tarEntry, withTempDir } from '../library/index.ts'

type Member = Partial<Parameters<typeof tarEntry>[0]> & { readonly path: string }

/** What the image of a layer with these members has: names with their types, `!` behind opaque directories. */
async function seen(
  members: readonly Member[],
): Promise<{ readonly names: readonly string[]; devices: number }> {
  return await withTempDir(async (temp) => {
    const file = join(temp, 'image')
    const fd = openSync(file, 'w+')
    const leftOut = nothingLeftOut()
    const archive = [
      ...members.map((one) => tarEntry({ type: 'file', mode: 0o644, uid: 0, mtime: 7, ...one })),
      tarEnd(),
    ]
    try {
      await writeImage(
        { fd, label: file },
        { depth: 1, compress: async () => undefined },
        (writer) => {
          const marks = new TarMarks((path) => writer.modeAt(path))
          return tarTree(
            (async function* () {
              yield* archive
            })(),
            marks,
            leftOut,
          )
        },
        leftOut,
        { name: 'gzip', blockSize: 4096 },
      )
    } finally {
      closeSync(fd)
    }
    const image = openSquashfs(file)
    try {
      const names: string[] = []
      for await (const { path, type } of image.entries('/')) {
        const opaque = image.xattrs(path).get('user.overlay.opaque')?.toString() === 'y' ? '!' : ''
        names.push(`${path.slice(1)} ${type}${opaque}`)
      }
      return { names, devices: leftOut.devices }
    } finally {
      image.close()
    }
  })
}

const names = async (members: readonly Member[]): Promise<readonly string[]> => (await seen(members)).names
const DIRECTORY = { type: 'directory', mode: 0o755 } as const

describe('marks in the archive of a layer', () => {
  test('are about the layers below, before and behind the entries of their own layer', async () => {
    const entries = [
      { path: 'a', ...DIRECTORY },
      { path: 'a/new', content: 'x' },
    ]
    const whiteout = { path: '.wh.a' }
    const expected = ['a directory!', 'a/new file']
    expect(await names([whiteout, ...entries])).toEqual(expected)
    expect(await names([...entries, whiteout])).toEqual(expected)
    expect(await names([{ path: 'f', content: 'new' }, { path: '.wh.f' }])).toEqual(['f file'])
    expect(await names([{ path: '.wh.f' }, { path: 'f', content: 'new' }])).toEqual(['f file'])
  })

  test('are whiteouts whatever their type, and need no directory of their own', async () => {
    expect(await names([{ path: 'd/.wh.x', ...DIRECTORY }, { path: 'd/.wh.y' }])).toEqual([
      'd directory',
      'd/x character-device',
      'd/y character-device',
    ])
    expect(await names([{ path: 'd/.wh..wh..opq' }])).toEqual(['d directory!'])
  })

  test('below what the layer itself makes a file are of no use', async () => {
    expect(await names([{ path: 'd' }, { path: 'd/.wh.x' }, { path: 'd/.wh..wh..opq' }])).toEqual(['d file'])
  })

  test('of AUFS are left out, and what only looks like a mark is escaped', async () => {
    expect(await names([{ path: '.wh..wh.plnk', ...DIRECTORY }, { path: '.wh..wh.aufs' }])).toEqual([])
    expect(await names([{ path: '..wh.x' }])).toEqual(['...wh.x file'])
  })

  test('that no overlay could tell from data are counted', async () => {
    expect(await seen([{ path: 'null', type: 'whiteout' }])).toEqual({
      names: ['null character-device'],
      devices: 1,
    })
  })

  test.each(['.wh.', '.wh..', '.wh...', '.wh.a/b'])('%s is refused', async (path) => {
    await expect(names([{ path }])).rejects.toThrow(/whiteout/)
  })

  test('of more paths than memory is meant for are refused', () => {
    const marks = new TarMarks(() => undefined, 20)
    marks.take({ path: 'aaaa/.wh.bbbb', mtime: 0 })
    marks.take({ path: 'cccc/.wh..wh..opq', mtime: 0 })
    expect(() => marks.take({ path: 'dddd/.wh.eeee', mtime: 0 })).toThrow(
      /paths of more than 20 bytes in all/,
    )
  })
})
