import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { COMPRESSOR_NAMES } from '../../src/codecs/index.ts'
import { CANDIDATES, openCandidate } from '../../src/codecs/registry.ts'
import { run } from '../library/programs/process.ts'
import { bundleProgram } from '../library/trees/walk-child.ts'
import { ENCODERS } from './compress.ts'
import type { MemoryReport } from './memory-main.ts'

const FAILURES = 5000
/** What allocators keep for themselves; a decoder that loses its output loses 625 MiB. */
const SLACK = 12 << 20

test(`no decoder leaks memory over ${FAILURES} failures`, async () => {
  const program = await bundleProgram(fileURLToPath(new URL('memory-main.ts', import.meta.url)))
  const { stdout } = await run(process.execPath, ['--expose-gc', program, `${FAILURES}`], {
    timeout: 120_000,
  })
  const reports = JSON.parse(stdout) as MemoryReport[]
  const expected = COMPRESSOR_NAMES.filter((name) => ENCODERS[name].length > 0).flatMap((name) =>
    CANDIDATES[name]
      .map(openCandidate)
      .flatMap((codec) => (codec === undefined ? [] : [`${name} ${codec.library}`])),
  )
  expect(reports.map(({ codec }) => codec)).toEqual(expected)
  for (const { codec, failures, grown } of reports) {
    expect(failures, codec).toBe(FAILURES)
    expect(grown, codec).toBeLessThan(SLACK)
  }
}, 120_000)
