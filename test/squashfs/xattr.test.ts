import { expect, test } from 'vitest'
import type { SquashfsImage } from '../../squashfs/image.ts'
import { FsError } from '../../src/base/index.ts'
import { extendedFileInode, open, run, withRoot } from './support/builder.ts'
import { cat, text, u16, u32, u64 } from './support/bytes.ts'

function pair(type: number, name: string, value: Uint8Array): Uint8Array {
  return cat(u16(type), u16(name.length), text(name), u32(value.length), value)
}

const LISTING = run(1, [{ name: 'f', offset: 0, type: 2 }])

/** One file with the pairs as its set 0; further sets are out of the way. */
function image(
  pairs: Uint8Array,
  set: { ref?: bigint; count: number; size?: number },
  xattr = 0,
): SquashfsImage {
  return open(
    withRoot([extendedFileInode(1, { size: 0, xattr })], LISTING, {
      xattrs: { pairs, sets: [[set.ref ?? 0n, set.count, set.size ?? pairs.length]] },
    }),
  )
}

function code(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
  return 'none'
}

const VALUE = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff)

test('extended attributes have their prefixes, values in and out of line, and unknown types are hidden', () => {
  const shared = pair(0, 'first', VALUE)
  const valueAt = 4 + 'first'.length
  const pairs = cat(
    shared,
    pair(1, 'overlay.opaque', text('y')),
    pair(2, 'capability', Uint8Array.of(1, 0, 0, 2)),
    pair(0x0100, 'second', u64(valueAt)), // out of line: where the first value stands
    pair(3, 'unknown', text('hidden')),
    pair(0x0200, 'unknown flag', text('hidden')),
    pair(0, 'empty', new Uint8Array(0)),
  )
  const layer = image(pairs, { count: 7 })
  expect(layer.listxattr(0)).toEqual([
    'user.first',
    'trusted.overlay.opaque',
    'security.capability',
    'user.second',
    'user.empty',
  ])
  expect(layer.getxattr(0, 'user.first')).toEqual(VALUE)
  expect(layer.getxattr(0, 'user.second')).toEqual(VALUE)
  expect(layer.getxattr(0, 'trusted.overlay.opaque')).toEqual(new Uint8Array(text('y')))
  expect(layer.getxattr(0, 'security.overlay.opaque')).toBeUndefined()
  expect(layer.getxattr(0, 'user.empty')).toEqual(new Uint8Array(0))
  expect(layer.getxattr(0, 'user.')).toBeUndefined()
  expect(layer.listxattr(layer.root)).toEqual([])
  // The kernel counts the pairs into the blocks.
  expect(layer.stat(0).blocks).toBe(Math.ceil(pairs.length / 512))
})

test('a value longer than a metadata block and a long name are read whole', () => {
  const value = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 3) & 0xff)
  const name = 'n'.repeat(250)
  const layer = image(cat(pair(0, name, value), pair(0, 'z', VALUE)), { count: 2 })
  expect(layer.getxattr(0, `user.${name}`)).toEqual(value)
  expect(layer.getxattr(0, 'user.z')).toEqual(VALUE)
})

test('an xattr index without a table means no attributes, as in the kernel', () => {
  const layer = open(withRoot([extendedFileInode(1, { size: 0, xattr: 5 })], LISTING))
  expect(layer.listxattr(0)).toEqual([])
  expect(layer.getxattr(0, 'user.a')).toBeUndefined()
  expect(layer.stat(0).blocks).toBe(0)
})

const GOOD = pair(0, 'a', VALUE)

test.each([
  ['an index beyond the table (squashfuse issue 154)', image(GOOD, { count: 1 }, 1)],
  ['a reference outside the table', image(GOOD, { count: 1, ref: 9000n << 16n })],
  ['an offset past the decoded block', image(GOOD, { count: 1, ref: 0x1fffn })],
  ['an offset of 16 bits', image(GOOD, { count: 1, ref: 0xffffn })],
  ['more pairs than there are', image(GOOD, { count: 2 })],
  ['an absurd number of pairs', image(GOOD, { count: 0xffff_ffff })],
  ['a value that ends outside', image(cat(u16(0), u16(1), text('a'), u32(5000), VALUE), { count: 1 })],
  ['a value of 4 GiB', image(cat(u16(0), u16(1), text('a'), u32(0xffff_ffff), VALUE), { count: 1 })],
  ['a name without bytes', image(pair(0, '', VALUE), { count: 1 })],
  ['a name longer than Linux has', image(pair(0, 'n'.repeat(251), VALUE), { count: 1 })],
  [
    'a far value outside the table (squashfs-tools issue 400)',
    image(pair(0x0100, 'a', u64(0xffff_0000n)), { count: 1 }),
  ],
  ['a far value past its block', image(pair(0x0100, 'a', u64(0x1000)), { count: 1 })],
  ['a far value that is no reference', image(pair(0x0100, 'a', text('short')), { count: 1 })],
])('damaged extended attributes are EIO: %s', (_name, layer) => {
  expect(code(() => [layer.listxattr(0), layer.getxattr(0, 'user.a')])).toBe('EIO')
})

test('a list of attributes longer than Linux can return is E2BIG', () => {
  const many = Array.from({ length: 400 }, (_, i) => pair(0, `${'n'.repeat(200)}${i}`, new Uint8Array(0)))
  expect(code(() => image(cat(...many), { count: 400 }).listxattr(0))).toBe('E2BIG')
})
