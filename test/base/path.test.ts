import { mkdirSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { decodePath, encodePath, systemPath } from '../../src/base/index.ts'
import { Random, withTempDir } from '../library/index.ts'

describe('paths as text', () => {
  test.each([
    ['/srv/bücher/𝄞', '/srv/bücher/𝄞'],
    [Buffer.from('78fffe79', 'hex'), 'x\udcff\udcfey'],
    // U+FFFD itself, beside a byte that is no character.
    [Buffer.from('efbfbdff', 'hex'), '\ufffd\udcff'],
    // A character that is cut, one in an overlong form, and a surrogate in the form of UTF-8.
    [Buffer.from('61e282', 'hex'), 'a\udce2\udc82'],
    [Buffer.from('c0af', 'hex'), '\udcc0\udcaf'],
    [Buffer.from('edb2802f', 'hex'), '\udced\udcb2\udc80/'],
    [Buffer.from('f09d849eff', 'hex'), '𝄞\udcff'],
  ])('the path %j is decoded and encoded without loss', (bytes, text) => {
    expect(decodePath(Buffer.from(bytes as string))).toBe(text)
    expect(encodePath(text)).toEqual(Buffer.from(bytes as string))
    expect(JSON.parse(JSON.stringify(text))).toBe(text)
  })

  test('any bytes of a path are kept, and different bytes give different text', () => {
    const random = new Random(20)
    const seen = new Map<string, string>()
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(Array.from({ length: random.int(1, 6) }, () => random.int(1, 255)))
      const text = decodePath(bytes)
      expect(encodePath(text)).toEqual(bytes)
      expect(seen.get(text) ?? bytes.toString('hex')).toBe(bytes.toString('hex'))
      seen.set(text, bytes.toString('hex'))
    }
  })

  test('systemPath names a file by its bytes', async () => {
    await withTempDir((folder) => {
      mkdirSync(systemPath(`${folder}/x\udcff`))
      expect(readdirSync(folder, { encoding: 'buffer' })).toEqual([Buffer.from('78ff', 'hex')])
      expect(systemPath('/plain/ü')).toBe('/plain/ü')
    })
  })
})
