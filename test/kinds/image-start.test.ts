import { describe, expect, test } from 'vitest'
import { type ByteSource, FsError } from '../../src/base/index.ts'
import { findImage } from '../../src/kinds/kinds.ts'
import { elfProgram } from '../library/index.ts'
import { MemorySource } from '../squashfs/support/sources.ts'

/** Where an image begins in a file that has something before it. */

const IMAGE = Buffer.from('hsqs and whatever follows')
const LINE = '#!/usr/bin/env run-singularity\n'

const startOf = (...parts: readonly (Buffer | string)[]): number =>
  findImage(new MemorySource(Buffer.concat(parts.map((part) => Buffer.from(part)))))

const PROGRAMS = ([32, 64] as const).flatMap((bits) =>
  (['last', 'before'] as const).map((table) => ({ bits, table, program: elfProgram({ bits, table }) })),
)

describe('the start of an image', () => {
  test.each(PROGRAMS)(
    'an image begins behind a program of $bits bits, with its section table $table',
    ({ program }) => {
      expect(startOf(program, IMAGE)).toBe(program.length)
    },
  )

  test('a last section without bytes in the file does not count', () => {
    const nothing = elfProgram({ bits: 64, table: 'before', type: 8 })
    const table = nothing.subarray(0, 64 + 2 * 64)
    expect(startOf(table, IMAGE)).toBe(table.length)
  })

  test('an image begins behind the launch line of Apptainer', () => {
    expect(startOf(LINE, IMAGE)).toBe(LINE.length)
    expect(startOf('#! run-singularity\n', IMAGE)).toBe(19)
  })

  test('every other file begins with its image, also one that names the launcher, or a program, further back', () => {
    for (const file of [IMAGE, '', 'h', `hsqs ${LINE}`, `x${LINE}`, '\x7fEL', `#!/bin/sh\n${LINE}`]) {
      expect(startOf(file)).toBe(0)
    }
    expect(startOf(IMAGE, elfProgram({ bits: 64 }), IMAGE)).toBe(0)
  })

  test.each(PROGRAMS)(
    'a program of $bits bits is read at its two ends only, with its section table $table',
    ({ program }) => {
      const whole = Buffer.concat([program, Buffer.alloc(100_000, 'x'), IMAGE])
      const reads: number[] = []
      const source: ByteSource = {
        size: whole.length,
        label: 'counted',
        readInto: (position, target) => {
          reads.push(target.length)
          target.set(whole.subarray(position, position + target.length))
        },
      }
      expect(() => findImage(source)).toThrow(/^counted: an ELF program without an image: the program ends/)
      expect(reads.length).toBeLessThan(7)
      expect(Math.max(...reads)).toBe(4096)
    },
  )

  test.each([
    ['a program alone', elfProgram({ bits: 64 }), /without an image: the program ends at byte 229 of 229/],
    ['a launch line alone', Buffer.from(LINE), /without an image: the launch line ends at byte 31 of 31/],
    ['another byte order', edited(5, 2), /not little-endian/],
    ['no class', edited(4, 0), /neither of 32 nor of 64 bits/],
    ['no section table', edited(40, 0, 0), /has no section table/],
    ['no sections', edited(60, 0, 0), /has no section table/],
    ['sections of another size', edited(58, 40), /has sections of 40 bytes, expected 64/],
    [
      'a table outside the file',
      edited(40, 0xff, 0xff, 0xff),
      /section table ends at byte \d+, and the file/,
    ],
    ['a table beyond 2^53', edited(47, 0x7f), /exceeds 2\^53/],
    ['65535 sections', edited(60, 0xff, 0xff), /section table ends at byte/],
    ['a last section outside the file', edited(101 + 64 + 36, 1), /last section ends at byte/],
    ['a last section beyond 2^53', edited(101 + 64 + 39, 0xff), /exceeds 2\^53/],
  ])('what is wrong with a program is said: %s', (_, file, message) => {
    expect(() => startOf(file)).toThrow(message)
  })

  test('every proper prefix of a program is refused, or has no program at all', () => {
    for (const { program } of PROGRAMS) {
      for (let length = 0; length < program.length; length += 1) {
        if (length < 4) expect(startOf(program.subarray(0, length))).toBe(0)
        else expect(() => startOf(program.subarray(0, length))).toThrow(FsError)
      }
    }
  })
})

/** A program of 64 bits with an image behind it, some of its bytes changed. */
function edited(position: number, ...bytes: readonly number[]): Buffer {
  const file = Buffer.concat([elfProgram({ bits: 64 }), IMAGE])
  file.set(bytes, position)
  return file
}
