import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { buildSync } from 'esbuild'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { FsError } from '../../src/base/index.ts'
import type { Candidate } from '../../src/codecs/common/codec.ts'
import { COMPRESSOR_NAMES, listCodecs, openCodec } from '../../src/codecs/index.ts'
import { CANDIDATES } from '../../src/codecs/registry.ts'
import { zstdFrameLength } from '../../src/codecs/zstd-frame.ts'

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

describe('openCodec', () => {
  test.each(COMPRESSOR_NAMES)('openCodec finds a decoder for %s, and a portable one on demand', (name) => {
    expect(openCodec(name).name).toBe(name)
    vi.stubEnv('ATOMFS_CODECS', 'portable')
    expect(openCodec(name)).toMatchObject({ name, tier: 'portable' })
  })

  test('openCodec returns the same instance to a thread again', () => {
    expect(openCodec('xz')).toBe(openCodec('xz'))
  })

  test('openCodec names the missing packages if no decoder is found', () => {
    vi.stubEnv('ATOMFS_CODECS', 'portable')
    const candidates = CANDIDATES.lzo as Candidate[]
    candidates.push({ name: 'lzo', tier: 'portable', library: 'no-such-package', open: () => undefined })
    try {
      expect(() => openCodec('lzo')).toThrow(
        new FsError('EOPNOTSUPP', 'no decoder for squashfs compressor lzo: found none of no-such-package'),
      )
      expect(listCodecs().map(({ name }) => name)).not.toContain('lzo')
    } finally {
      candidates.pop()
    }
  })

  test('openCodec treats a candidate that throws while it loads as absent', () => {
    const candidates = CANDIDATES.lzo as Candidate[]
    const open = () => {
      throw new Error('cannot find native binding')
    }
    candidates.unshift({ name: 'lzo', tier: 'system', library: 'broken', open })
    try {
      expect(openCodec('lzo').library).not.toBe('broken')
    } finally {
      candidates.shift()
    }
  })
})

test('listCodecs names every compressor once, with the alternatives', () => {
  const reports = listCodecs()
  expect(reports.map(({ name }) => name)).toEqual(COMPRESSOR_NAMES)
  const gzip = reports.find(({ name }) => name === 'gzip')
  expect([gzip?.library, ...(gzip?.alternatives ?? [])]).toContain('node:zlib')
  expect(gzip?.alternatives.at(-1)).toMatch(/^pako \d+\.\d+\.\d+$/)
})

test('a bundle of the codecs loads no package before a codec is opened, and then decodes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'codecs-'))
  try {
    symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
    const outfile = join(folder, 'codecs.mjs')
    const shared = { bundle: true, packages: 'external', platform: 'node', format: 'esm' } as const
    buildSync({ ...shared, entryPoints: ['src/codecs/index.ts'], outfile })
    const script = `
      import { readFileSync } from 'node:fs'
      import { createRequire } from 'node:module'
      const { openCodec } = await import(${JSON.stringify(outfile)})
      const { cache } = createRequire(import.meta.url)
      const packages = () => Object.keys(cache).filter((file) => /pako|zstd-codec|lz4-napi/.test(file)).length
      const mapped = () => /libdeflate|liblz4|liblzo2|lz4-napi/.test(readFileSync('/proc/self/maps', 'latin1'))
      const before = { packages: packages(), mapped: mapped() }
      const libraries = ['gzip', 'zstd'].map((name) => openCodec(name).library)
      process.stdout.write(JSON.stringify({ before, libraries, after: packages() }))`
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: 20_000,
      env: { ...process.env, ATOMFS_CODECS: 'portable' },
    })
    const { before, libraries, after } = JSON.parse(output.toString())
    expect(before).toEqual({ packages: 0, mapped: false })
    expect(libraries).toEqual([expect.stringMatching(/^pako /), expect.stringMatching(/^zstd-codec/)])
    expect(after).toBeGreaterThan(0)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

describe('zstdFrameLength', () => {
  // Window descriptor, no content size, checksum; one raw block of 2 bytes, one last RLE block of 5 bytes.
  const frame = Uint8Array.of(
    ...[0x28, 0xb5, 0x2f, 0xfd], // magic
    ...[0x04, 0x58], // descriptor, window
    ...[0x10, 0x00, 0x00, 0x61, 0x62], // raw block
    ...[0x2b, 0x00, 0x00, 0x63], // last block, RLE
    ...[0x11, 0x22, 0x33, 0x44], // checksum
  )

  test('the length of a zstd frame includes header, blocks and checksum', () => {
    expect(zstdFrameLength(frame)).toBe(frame.length)
    expect(zstdFrameLength(Uint8Array.of(...frame, 9, 9))).toBe(frame.length)
  })

  test('every proper prefix of a zstd frame is EIO or no frame', () => {
    for (let length = 0; length < frame.length; length++) {
      const prefix = frame.subarray(0, length)
      if (length < 5) expect(zstdFrameLength(prefix)).toBe(0)
      else expect(() => zstdFrameLength(prefix)).toThrow(FsError)
    }
  })

  test('a zstd frame with a reserved block type is no frame', () => {
    const reserved = Uint8Array.from(frame)
    reserved[6] = 0x16
    expect(zstdFrameLength(reserved)).toBe(0)
  })
})
