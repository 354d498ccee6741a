import { describe, expect, test } from 'vitest'
import { readAskWords } from '../../../src/cli/direct/ask-words.ts'

const FOUND = { source: 'i.sqfs', target: 'mnt' }

describe('the words of a client of a shared server', () => {
  const asks: [program: string, words: string, wished?: string][] = [
    ['atomfs-fuse', 'mount -o server=shared i.sqfs mnt'],
    ['atomfs-fuse', 'mount i.sqfs mnt -o ro,server=own -o nosuid,server=shared'],
    ['/usr/bin/atomfs', 'mount i.sqfs mnt', 'shared'],
    ['mount.atomfs-fuse', 'i.sqfs mnt -n -o server=shared'],
    ['squashfuse', '-o server=shared i.sqfs mnt'],
    ['puzzlefs', 'mount -o server=shared i.sqfs mnt'],
  ]
  test.each(asks)('%s %s asks for one', (program, words, wished) => {
    expect(readAskWords(program, words.split(' '), wished)).toMatchObject(FOUND)
  })

  const overlays: [program: string, words: string, wished?: string][] = [
    ['atomfs-fuse', 'overlay mnt -o lowerdir=a:b', 'shared'],
    ['atomfs-fuse', 'overlay -o lowerdir=a,upperdir=u,workdir=w,server=shared overlay mnt'],
    ['fuse-overlayfs', '-o lowerdir=a mnt', 'shared'],
  ]
  test.each(overlays)('%s %s asks for one without a source', (program, words, wished) => {
    const found = readAskWords(program, words.split(' '), wished)
    expect(found).toMatchObject({ target: 'mnt' })
    expect(found).not.toHaveProperty('source')
  })

  test.each(['--writable', '--upper=u', '--persist=p'])('changes by %s are for one, too', (word) => {
    expect(readAskWords('atomfs-fuse', ['mount', word, 'i.sqfs', 'mnt'], 'shared')).toMatchObject(FOUND)
  })

  const own: [program: string, words: string, wished?: string][] = [
    ['atomfs-fuse', 'mount i.sqfs mnt'],
    ['atomfs-fuse', 'mount i.sqfs mnt', 'own'],
    ['atomfs-fuse', 'mount -o server=own i.sqfs mnt', 'shared'],
    ...['--metadir=m', '--log=l', '--store=s', '--index-dir=i'].map((word): [string, string, string] => [
      'atomfs-fuse',
      `mount ${word} i.sqfs mnt`,
      'shared',
    ]),
    ['atomfs-fuse', 'mount --foreground i.sqfs mnt', 'shared'],
    ['atomfs-fuse', 'umount mnt', 'shared'],
    ['atomfs-fuse', 'overlay mnt -o lowerdir=a:b'],
    ['atomfs-fuse', 'overlay mnt -o lowerdir=a:b --log=l', 'shared'],
    ['fuse-overlayfs', '-f -o lowerdir=a mnt', 'shared'],
    ['squashfuse', '-f i.sqfs mnt', 'shared'],
    ['puzzlefs', 'mount -f i.sqfs mnt', 'shared'],
    ['mount.atomfs-fuse', 'i.sqfs mnt -f', 'shared'],
  ]
  test.each(own)('%s %s has a server of its own', (program, words, wished) => {
    expect(readAskWords(program, words.split(' '), wished)).toBeUndefined()
  })
})
