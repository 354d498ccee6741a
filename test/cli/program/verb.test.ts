import { describe, expect, test } from 'vitest'
import { COMMANDS } from '../../../src/cli/program/command-table.ts'
import { withVerb } from '../../../src/cli/program/verb.ts'

describe('withVerb', () => {
  test.each([
    ['/a.sqfs /mnt -o ro,nodev', true],
    ['oci:x:y mnt', true],
    ['x@sha256:ab mnt -o ro', true],
    ['-o ro -f ./a mnt', true],
    ['-oro ./a mnt', true],
    ['./a mnt --metadir /run/x', true],
    ['package.json mnt -o ro', true],
    ['mount /a /b', false],
    ['umount /a', false],
    ['doctor', false],
    ['mout a b', false],
    ['./a', false],
    ['./a b c', false],
    ['--help', false],
    ['', false],
  ])('the mount verb is added only to a command line without a verb: %s', (line, isMount) => {
    const words = line.split(' ').filter((word) => word !== '')
    expect(withVerb(words)).toEqual(isMount ? ['mount', ...words] : words)
  })

  test.each(COMMANDS.map(({ name }) => name))('%s is a command whatever follows it', (name) => {
    // Of any other word this would be a mount.
    const words = [name, 'target', '-o', 'remount']
    expect(withVerb(words)).toEqual(words)
  })
})
