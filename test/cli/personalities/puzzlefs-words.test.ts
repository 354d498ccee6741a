import { describe, expect, test } from 'vitest'
import { readPuzzlefsWords } from '../../../src/cli/personalities/puzzlefs-words.ts'
import { puzzlefsMountFlags, writableFolders } from '../../../src/cli/words/puzzlefs-mount.ts'

function mountFlags(...words: readonly string[]): unknown {
  const call = readPuzzlefsWords(['mount', ...words, 'oci:tag', 'target'])
  return 'command' in call ? puzzlefsMountFlags(call) : call
}

describe('the words of puzzlefs', () => {
  test('the call of lxc-oci keeps changes in the directory itself', () => {
    expect(mountFlags('--persist', '/c/upper')).toEqual({ foreground: false, o: [], upper: '/c/upper' })
    expect(mountFlags('-p/c/upper')).toEqual(mountFlags('--persist=/c/upper'))
  })

  test('options are those of mount, and a FIFO counts in the foreground alone', () => {
    expect(mountFlags('-o', 'ro,noexec', '-oallow_other', '-d', 'ab', '-i', '/a,b')).toEqual({
      foreground: false,
      o: ['ro,noexec', 'allow_other'],
      rootHash: 'ab',
    })
    expect(mountFlags('-fi', '/a,b')).toEqual({ foreground: true, o: ['notify_pipe=/a\\,b'] })
  })

  test('a writable mount keeps its changes below the mount point, unless it is said where', () => {
    const folders = (...words: readonly string[]): unknown => {
      const call = readPuzzlefsWords(['mount', ...words, 'oci:tag', '/t'])
      return 'command' in call ? writableFolders('/t', call) : call
    }
    expect(folders('-w')).toEqual({ upper: '/t/upper', work: '/t/work' })
    expect(folders('-w', '-p', '/u')).toBeUndefined()
    expect(folders()).toBeUndefined()
  })

  test.each([
    [[], /no command/],
    [['frobnicate'], /unrecognized subcommand 'frobnicate'/],
    [['mount', 'a:b'], /mount takes 2 words: OCIDIR:TAG MOUNTPOINT/],
    [['umount', 'a', 'b'], /umount takes one word/],
    [['mount', '-x', 'a:b', 'c'], /unexpected argument '-x'/],
    [['mount', '--nope', 'a:b', 'c'], /unexpected argument '--nope'/],
    [['mount', 'a:b', 'c', '-d'], /a value is required for '-d'/],
    [['mount', '--foreground=yes', 'a:b', 'c'], /unexpected argument/],
  ])('%j makes no sense', (words, wrong) => {
    expect(readPuzzlefsWords(words)).toEqual({ wrong: expect.stringMatching(wrong) })
  })

  test('help and version are asked for anywhere', () => {
    expect(readPuzzlefsWords(['-V'])).toEqual({ asks: 'version' })
    expect(readPuzzlefsWords(['mount', '-fh'])).toEqual({ asks: 'help' })
    expect(readPuzzlefsWords(['umount', '--', '-h'])).toMatchObject({ words: ['-h'] })
  })
})
