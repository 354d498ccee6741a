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

  const own: [program: string, words: string, wished?: string][] = [
    ['atomfs-fuse', 'mount i.sqfs mnt'],
    ['atomfs-fuse', 'mount i.sqfs mnt', 'own'],
    ['atomfs-fuse', 'mount -o server=own i.sqfs mnt', 'shared'],
    ...['--writable', '--upper=u', '--persist=p', '--metadir=m', '--log=l', '--store=s', '--index-dir=i'].map(
      (word): [string, string, string] => ['atomfs-fuse', `mount ${word} i.sqfs mnt`, 'shared'],
    ),
    ['atomfs-fuse', 'mount --foreground i.sqfs mnt', 'shared'],
    ['atomfs-fuse', 'umount mnt', 'shared'],
    ['atomfs-fuse', 'overlay mnt -o lowerdir=a:b', 'shared'],
    ['fuse-overlayfs', '-o lowerdir=a mnt', 'shared'],
    ['squashfuse', '-f i.sqfs mnt', 'shared'],
    ['puzzlefs', 'mount -f i.sqfs mnt', 'shared'],
    ['mount.atomfs-fuse', 'i.sqfs mnt -f', 'shared'],
  ]
  test.each(own)('%s %s has a server of its own', (program, words, wished) => {
    expect(readAskWords(program, words.split(' '), wished)).toBeUndefined()
  })
})
