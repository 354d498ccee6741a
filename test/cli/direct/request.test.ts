import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mountRequest } from '../../../src/cli/commands/mount.ts'
import { readDirectMount } from '../../../src/cli/direct/request.ts'
import { buildOverlayRequest } from '../../../src/request/index.ts'
import { withTempDir } from '../../library/index.ts'

/** What the launcher's one process makes of the words, against what the program makes of them. */

async function inFolder(play: (image: string, folder: string) => Promise<void>): Promise<void> {
  await withTempDir(async (folder) => {
    const image = join(folder, 'image')
    writeFileSync(image, 'hsqs')
    await play(image, folder)
  })
}

describe('mounts that the launcher starts directly', () => {
  test('a mount by any of our names gives the request of the program', async () => {
    await inFolder(async (image) => {
      const request = await mountRequest(image, 't', { o: ['allow_other,uid=5'], persist: 'p' })
      const words = ['--persist', 'p', '-o', 'allow_other,uid=5', image, 't']
      for (const name of ['atomfs-fuse', '/usr/bin/atomfs', './anything']) {
        expect(readDirectMount(name, ['mount', ...words])).toEqual({ request, ignored: [] })
      }
      expect(readDirectMount('mount.atomfs-fuse', ['-n', ...words])).toEqual({ request, ignored: [] })
      const plain = await mountRequest(image, 't', { o: ['ro'] })
      expect(readDirectMount('atomfs-fuse', [image, 't', '-o', 'ro'])?.request).toEqual(plain)
    })
  })

  test('an overlay by both of its names gives the request of the program, and names unknown words', () => {
    const lists = ['lowerdir=/a:/b,static_nlink', 'nonsense']
    const { request, ignored } = buildOverlayRequest({ target: 't', lists })
    const words = ['-o', lists[0]!, '-o', lists[1]!, 't']
    expect(readDirectMount('atomfs-fuse', ['overlay', ...words])).toEqual({ request, ignored })
    expect(ignored.length).toBe(2)
    expect(readDirectMount('fuse-overlayfs', ['--strange', ...words])).toEqual({
      request,
      ignored: ['unknown argument ignored: --strange', ...ignored],
    })
  })

  test('squashfuse gives a request for the image', async () => {
    await inFolder(async (image, folder) => {
      const direct = readDirectMount('squashfuse_ll', ['-o', 'uid=5,subdir=x', image, 't'])
      expect(direct?.request).toMatchObject({ source: { container: 'file', path: image }, name: image })
      expect(readDirectMount('squashfuse', ['-f', image, 't'])).toBeUndefined()
      expect(readDirectMount('squashfuse', [image])).toBeUndefined()
      expect(readDirectMount('squashfuse', [folder, 't'])).toBeUndefined()
      expect(readDirectMount('squashfuse', ['-o', 'offset=x', image, 't'])).toBeUndefined()
    })
  })

  test('puzzlefs gives the request of the program, and leaves to it what must be made first', async () => {
    await inFolder(async (image) => {
      const request = await mountRequest(image, 't', { o: ['ro'], upper: 'u', foreground: false })
      expect(readDirectMount('puzzlefs', ['mount', '-o', 'ro', '--persist', 'u', image, 't'])).toEqual({
        request,
        ignored: [],
      })
      for (const words of [
        ['mount', '-w', image, 't'],
        ['mount', '-f', image, 't'],
        ['mount', image],
        ['umount', 't'],
      ]) {
        expect(readDirectMount('puzzlefs', words)).toBeUndefined()
      }
    })
  })

  test('what is no plain mount in the background is left to the program', async () => {
    await inFolder(async (image) => {
      const lines: readonly (readonly string[])[] = [
        [],
        ['status', 't'],
        ['mount', image],
        ['mount', image, 't', 'more'],
        ['mount', '-f', image, 't'],
        ['mount', '--verify', 'eager', image, 't'],
        ['mount', '-o', 'driver=fuse-native', image, 't'],
        ['mount', image, 't\n'],
        ['overlay'],
        ['overlay', '-f', '-o', 'lowerdir=/a', 't'],
      ]
      for (const words of lines)
        expect(readDirectMount('atomfs-fuse', words), words.join(' ')).toBeUndefined()
      expect(readDirectMount('mount.atomfs-fuse', [image, 't', '-f'])).toBeUndefined()
    })
  })
})
