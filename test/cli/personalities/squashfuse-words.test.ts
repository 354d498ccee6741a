import { expect, test } from 'vitest'
import { squashfuseHelp } from '../../../src/cli/personalities/squashfuse-help.ts'
import { readSquashfuseWords } from '../../../src/cli/personalities/squashfuse-words.ts'

const CALL = { archive: 'i', mountpoint: 'm', foreground: false, debug: false, lists: [] }

test.each([
  [['i', 'm'], CALL],
  [['-f', '-s', 'i', 'm'], { ...CALL, foreground: true }],
  [['i', '-d', 'm'], { ...CALL, foreground: true, debug: true }],
  [['-o', '', 'i', 'm', '-oro,uid=5'], { ...CALL, lists: ['', 'ro,uid=5'] }],
  [['-o', '-f', 'i', 'm'], { ...CALL, lists: ['-f'] }],
  [['--', '-f', 'm'], { ...CALL, archive: '-f' }],
  [['-z', '--foo', 'i', 'm'], { ...CALL, unknown: '-z' }],
])('words of squashfuse: %s', (words, call) => {
  expect(readSquashfuseWords(words)).toEqual(call)
})

test.each([[''], ['i'], ['i m x'], ['-h i m'], ['--help'], ['-V i m'], ['--version'], ['i m -o']])(
  'squashfuse shows its usage: %s',
  (line) => {
    expect(readSquashfuseWords(line.split(' ').filter((word) => word !== ''))).toEqual({ lists: [] })
  },
)

test('the help of squashfuse has what atomfs and Apptainer look for', () => {
  const help = squashfuseHelp('squashfuse_ll', '1.2.3')
  expect(help).toMatch(/^squashfuse 0\.6\.2 \(atomfs-fuse 1\.2\.3\)\n/)
  expect(help).toContain('-o uid=')
})
