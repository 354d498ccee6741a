// How fast is each decoder? MB of output per second of processor time, for blocks of machine code, one thread.
// Processor time, because a busy machine would otherwise be part of the answer.
// Usage: node bench/codecs.mjs [block size in KiB, default 128]
import { mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { resolve } from 'node:path'
import { build } from 'esbuild'

const ROUNDS = 5
const BLOCKS = 48

const folder = resolve('node_modules/.cache')
mkdirSync(folder, { recursive: true })
const outfile = resolve(folder, 'bench-codecs.mjs')
await build({
  stdin: {
    contents: `
      export { CANDIDATES, openCandidate } from './squashfs/codecs/registry.ts'
      export { ENCODERS } from './test/codecs/compress.ts'
      export { binaryBytes } from './test/codecs/samples.ts'`,
    resolveDir: resolve('.'),
  },
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  outfile,
})
const { CANDIDATES, openCandidate, ENCODERS, binaryBytes } = await import(outfile)

/** What mksquashfs does by default, by the label of the encoder. */
const ENCODER = {
  gzip: 'level 9',
  lzma: 'size and end marker',
  lzo: 'lzo1x_999',
  xz: 'CRC32',
  lz4: 'fast',
  zstd: 'level 15',
}

const blockSize = Number(process.argv[2] ?? 128) * 1024
const blocks = Array.from({ length: BLOCKS }, (_, i) => binaryBytes(blockSize, (8 + i) << 20))
const output = new Uint8Array(new SharedArrayBuffer(blockSize))

console.log(`node ${process.version}, ${cpus()[0]?.model}, ${BLOCKS} blocks of ${blockSize / 1024} KiB`)
console.log('codec  tier      library               MB/s median   min   max')
for (const [name, candidates] of Object.entries(CANDIDATES)) {
  const encoder = ENCODERS[name].find(({ label }) => label === ENCODER[name])
  if (encoder === undefined) continue
  const stored = blocks.map(encoder.compress)
  for (const codec of candidates.map(openCandidate)) {
    if (codec === undefined) continue
    const speeds = []
    for (let round = 0; round <= ROUNDS; round++) {
      const start = process.cpuUsage()
      for (const block of stored) codec.decode(block, output)
      const { user, system } = process.cpuUsage(start)
      // The first round warms up.
      if (round > 0) speeds.push((BLOCKS * blockSize) / (user + system))
    }
    speeds.sort((a, b) => a - b)
    const [median, min, max] = [speeds[ROUNDS >> 1], speeds[0], speeds.at(-1)].map((speed) =>
      speed?.toFixed(0),
    )
    console.log(
      `${name.padEnd(6)} ${codec.tier.padEnd(9)} ${codec.library.padEnd(25)} ${median?.padStart(7)} ${min?.padStart(5)} ${max?.padStart(5)}`,
    )
  }
}
