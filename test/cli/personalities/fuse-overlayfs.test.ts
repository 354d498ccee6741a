import { describe, expect, test } from 'vitest'
import { fuseOverlayfsVersion } from '../../../src/cli/personalities/fuse-overlayfs.ts'
import { readOverlayWords } from '../../../src/cli/personalities/overlay-words.ts'
import { COMMANDS, OPTIONS } from '../../../src/cli/program/command-table.ts'

describe('fuseOverlayfsVersion', () => {
  test('the version line has the form that clients of fuse-overlayfs look for', () => {
    expect(fuseOverlayfsVersion('0.1.0')).toMatch(
      /^fuse-overlayfs: version \d+\.\d+ \(atomfs-fuse 0\.1\.0\)$/,
    )
  })
})

describe('readOverlayWords', () => {
  test.each([
    ['-f -o lowerdir=a,x m', '-f -o lowerdir=a,x m', ''],
    ['-olowerdir=a m -d', '-olowerdir=a m -d', ''],
    ['-s --foo -o lowerdir=a --bar=1 m -x', '-o lowerdir=a m', '--foo --bar=1 -x'],
    ['-o -f m', '-o -f m', ''],
    ['--log=x --log y --logs', '--log=x --log y', '--logs'],
    ['-fd -fz', '-fd', '-fz'],
    ['-- -x', '-- -x', ''],
    ['- -o', '- -o', ''],
  ])('unknown options of "%s" are set aside', (words, known, ignored) => {
    const list = (text: string) => text.split(' ').filter((word) => word !== '')
    expect(readOverlayWords(list(words))).toEqual({ known: list(known), ignored: list(ignored) })
  })

  test('every option of the command overlay is known', () => {
    const row = COMMANDS.find(({ name }) => name === 'overlay')
    const options = [OPTIONS.debug, ...(row?.options ?? [])]
    expect(options.length).toBeGreaterThan(4)
    for (const [flags] of options) {
      const words = flags.split(/, | /).map((word) => (word.startsWith('<') ? 'value' : word))
      expect(readOverlayWords(words).ignored).toEqual([])
    }
  })
})
