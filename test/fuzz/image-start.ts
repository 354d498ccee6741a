import { findImage } from '../../src/kinds/kinds.ts'
import { elfProgram } from '../library/images/elf.ts'
import { MemorySource } from '../squashfs/support/sources.ts'
import type { FuzzTarget } from './driver.ts'

const IMAGE = Buffer.from('hsqs')
const PROGRAMS = ([32, 64] as const).flatMap((bits) =>
  (['last', 'before'] as const).map((table) => elfProgram({ bits, table })),
)
const LINE = Buffer.from('#!/usr/bin/env run-singularity\n')

/** What may stand before an image. */
export const IMAGE_START_TARGET: FuzzTarget = {
  name: 'start of an image',
  samples: [...PROGRAMS, LINE].map((before) => Buffer.concat([before, IMAGE])),
  run: (input) => {
    const start = findImage(new MemorySource(input))
    if (!(start >= 0 && start <= input.length)) throw new RangeError(`${start} of ${input.length}`)
  },
  codes: ['EIO', 'EINVAL'],
}
