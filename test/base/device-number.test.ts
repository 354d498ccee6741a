import { lstatSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  MAJOR_LIMIT,
  MINOR_LIMIT,
  majorOf,
  minorOf,
  packDevice,
  packNodeDevice,
} from '../../src/base/index.ts'

const NUMBERS: readonly (readonly [major: number, minor: number])[] = [
  [0, 0],
  [1, 3],
  [8, 255],
  [8, 256],
  [259, 0x1_2345],
  [MAJOR_LIMIT - 1, MINOR_LIMIT - 1],
]

test.each(NUMBERS)('the device %i:%i is unchanged after packing', (major, minor) => {
  const device = packDevice(major, minor)
  expect([majorOf(device), minorOf(device)]).toEqual([major, minor])
  expect(device).toBeGreaterThanOrEqual(0)
  expect(device).toBeLessThan(2 ** 32)
})

test('a packed device number has the layout of new_encode_dev', () => {
  expect(packDevice(0x123, 0x4_5678)).toBe(0x4561_2378)
})

test.each(NUMBERS)('the device %i:%i is unpacked from the 64 bits of gnu_dev_makedev', (major, minor) => {
  const [a, b] = [BigInt(major), BigInt(minor)]
  const wide = ((a & 0xfffn) << 8n) | ((a >> 12n) << 44n) | (b & 0xffn) | ((b >> 8n) << 20n)
  expect(packNodeDevice(wide)).toBe(packDevice(major, minor))
})

test('the device number of /dev/null is 1:3', () => {
  expect(packNodeDevice(lstatSync('/dev/null', { bigint: true }).rdev)).toBe(packDevice(1, 3))
})
