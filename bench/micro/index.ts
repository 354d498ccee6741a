import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { alignColumns, formatValue } from '../report/index.ts'
import { blockCases } from './blocks.ts'
import { codecCases } from './codecs.ts'
import { imageCases, packSample } from './image.ts'
import { protocolCases } from './protocol.ts'
import { type MicroCase, type MicroResult, measureCase } from './timer.ts'

/**
 * Times the hot parts and prints nanoseconds for one operation each.
 * @param args words: only cases whose name holds one of them; `--block-size KIB` for the codecs
 */
export async function runMicro(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { 'block-size': { type: 'string', default: '128' } },
  })
  const blockSize = Number(values['block-size']) * 1024
  if (!(blockSize >= 4096 && blockSize <= 1 << 20)) throw new Error('--block-size: expected 4 to 1024')
  const wanted = (name: string): boolean =>
    positionals.length === 0 || positionals.some((word) => name.toLowerCase().includes(word.toLowerCase()))
  const directory = mkdtempSync(join(tmpdir(), 'atomfs-bench-micro-'))
  try {
    const cases: MicroCase[] = [
      ...protocolCases(),
      ...imageCases(await packSample(directory)),
      ...blockCases(),
      ...codecCases(blockSize, wanted),
    ].filter(({ name }) => wanted(name))
    const results = cases.map((one) => {
      process.stderr.write(`${one.name} …\n`)
      return measureCase(one)
    })
    process.stdout.write(`node ${process.version}, ${cpus()[0]?.model}, processor time of one thread\n`)
    process.stdout.write(`${resultTable(results)}\n`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function resultTable(results: readonly MicroResult[]): string {
  const header = ['part', 'ns/op', 'min', 'max', 'MB/s', 'one operation is']
  const body = results.map(({ name, operation, nanoseconds: { median, min, max }, bytes }) => [
    name,
    ...[median, min, max].map(formatValue),
    bytes === undefined ? '' : ((bytes * 1000) / median).toFixed(0),
    operation,
  ])
  return alignColumns([header, ...body])
}
