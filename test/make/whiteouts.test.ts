import { expect, test } from 'vitest'
import { S_IFCHR, S_IFDIR, S_IFREG } from '../../src/base/index.ts'
import { TarMarks } from '../../src/make/tar-marks.ts'
import type { TreeItem } from '../../src/make/tree-item.ts'
import { asAufs, asOverlay } from '../../src/make/whiteouts.ts'

const owner = { uid: 3, gid: 4, mtime: 5 }
const file = (path: string): TreeItem => ({ path, entry: { ...owner, mode: S_IFREG | 0o600, size: 1 } })
const device = (path: string, rdev: number): TreeItem => ({ path, entry: { ...owner, mode: S_IFCHR, rdev } })
const directory = (path: string, ...xattrs: [string, string][]): TreeItem => ({
  path,
  entry: {
    ...owner,
    mode: S_IFDIR | 0o755,
    xattrs: xattrs.map(([name, value]) => [name, Buffer.from(value)]),
  },
})

async function all(items: AsyncIterable<TreeItem>): Promise<TreeItem[]> {
  const found: TreeItem[] = []
  for await (const item of items) found.push(item)
  return found
}

const MARK = { mode: S_IFREG | 0o444, uid: 0, gid: 0, mtime: 5, size: 0 }

test('in the form of AUFS, whiteouts and opaque directories of overlayfs are names', async () => {
  const items = [
    directory('', ['user.overlay.opaque', 'n'], ['user.x', '1']),
    directory('d', ['trusted.overlay.opaque', 'y'], ['user.x', '2']),
    device('d/gone', 0),
    device('null', 0x103),
    { path: 'same', link: 'd/gone' },
    { path: 'other', link: 'null' },
  ]
  expect(await all(asAufs(items))).toEqual([
    directory('', ['user.x', '1']),
    directory('d', ['user.x', '2']),
    { path: 'd/.wh..wh..opq', entry: MARK },
    { path: 'd/.wh.gone', entry: MARK },
    device('null', 0x103),
    { path: '.wh.same', entry: { ...MARK, mtime: 0 } },
    { path: 'other', link: 'null' },
  ])
})

test('names of AUFS become empty files, whatever they were, and those of its own go', async () => {
  const items = [file('.wh.a'), { path: '.wh.b', link: 'c' }, directory('.wh..wh.plnk'), file('a.wh.b')]
  expect(await all(asAufs(items))).toEqual([
    { path: '.wh.a', entry: MARK },
    { path: '.wh.b', entry: { ...MARK, mtime: 0 } },
    file('a.wh.b'),
  ])
})

test.each(['.wh.', '.wh..', '.wh...', '.wh.a/b', 'd/.wh..wh..opq/x'])(
  'the name %s is refused',
  async (path) => {
    await expect(all(asAufs([file(path)]))).rejects.toThrow(/whiteout/)
    const marks = new TarMarks(() => undefined)
    await expect(all(asOverlay([file(path)], marks))).rejects.toThrow(/whiteout/)
  },
)

test('in the form of overlayfs, names of AUFS in a directory become devices and attributes at the end', async () => {
  const items = [file('.wh.gone'), file('d/.wh..wh..opq'), directory('d'), file('d/x')]
  const marks = new TarMarks((path) => (path === 'd' ? S_IFDIR : undefined))
  expect(await all(asOverlay(items, marks))).toEqual([
    directory('d'),
    file('d/x'),
    { path: 'gone', entry: { mode: S_IFCHR, uid: 0, gid: 0, mtime: 5, rdev: 0 } },
    { path: 'd', attribute: ['user.overlay.opaque', Uint8Array.of(0x79)] },
  ])
})
