import { expect, test } from 'vitest'
import { readHelperWords } from '../../../src/cli/personalities/helper-words.ts'

test.each([
  ['i.sqfs mnt -o rw,dev,suid', false, 'i.sqfs mnt -o rw,dev,suid'],
  ['i.sqfs mnt -s -n -v -o ro -t fuse.atomfs-fuse', false, 'i.sqfs mnt -o ro'],
  ['i.sqfs mnt -N /proc/7/ns/mnt', false, 'i.sqfs mnt'],
  ['i.sqfs mnt -o -v', false, 'i.sqfs mnt -o -v'],
  ['i.sqfs mnt -sv', false, 'i.sqfs mnt'],
  ['i.sqfs mnt -f', true, 'i.sqfs mnt'],
  ['i.sqfs mnt -vf -o ro', true, 'i.sqfs mnt -o ro'],
])('words of mount(8) to its helper: %s', (line, isFake, rest) => {
  expect(readHelperWords(line.split(' '))).toEqual({ isFake, rest: rest.split(' ') })
})
