import type { Failure } from '../run.ts'
import type { Verdict } from './goals.ts'
import { type RowResult, ratioOf } from './statistics.ts'

/** Most digits that mean anything. */
export function formatValue(value: number): string {
  if (value >= 100) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

/** One table for each image: medians and spread, and ours as a multiple of every other reader. */
export function resultTables(rows: readonly RowResult[]): string {
  const inputs = [...new Set(rows.map(({ input }) => input))]
  return inputs
    .map((input) =>
      tableOf(
        input,
        rows.filter((row) => row.input === input),
      ),
    )
    .join('\n\n')
}

function tableOf(input: string, rows: readonly RowResult[]): string {
  const readers = [...new Set(rows.flatMap((row) => row.readers.map(({ reader }) => reader)))].sort(oursFirst)
  const others = readers.filter((reader) => reader !== 'ours')
  const hasOurs = others.length < readers.length
  const header = [input, ...readers, ...(hasOurs ? others.map((reader) => `ours/${reader}`) : [])]
  const body = rows.map((row) => {
    const find = (reader: string) => row.readers.find((r) => r.reader === reader)
    const ours = find('ours')
    const medians = readers.map((reader) => {
      const result = find(reader)
      return result === undefined ? '–' : `${formatValue(result.median)} ±${(result.spread * 50).toFixed(0)}%`
    })
    const ratios = others.map((reader) => {
      const other = find(reader)
      return ours === undefined || other === undefined ? '–' : `${ratioOf(ours, other).value.toFixed(2)}×`
    })
    return [`${row.row} (${row.unit})`, ...medians, ...(hasOurs ? ratios : [])]
  })
  return alignColumns([header, ...body])
}

function oursFirst(a: string, b: string): number {
  return Number(b === 'ours') - Number(a === 'ours')
}

/** The first column to the left, all others to the right, a line under the header. */
export function alignColumns(table: readonly (readonly string[])[]): string {
  const [header = []] = table
  const widths = header.map((_, i) => Math.max(...table.map((line) => (line[i] ?? '').length)))
  const lines = table.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  )
  const [first = '', ...rest] = lines
  return [first.trimEnd(), '-'.repeat(first.length), ...rest.map((line) => line.trimEnd())].join('\n')
}

export function verdictTable(verdicts: readonly Verdict[]): string {
  const misses = verdicts.filter(({ outcome }) => outcome === 'MISS').length
  const passes = verdicts.filter(({ outcome }) => outcome === 'pass').length
  const width = Math.max(...verdicts.map(({ goal }) => goal.length))
  const lines = verdicts.map(
    ({ goal, outcome, found }) => `${goal.padEnd(width)}  ${outcome.padEnd(12)}  ${found}`,
  )
  return [...lines, `${passes} pass, ${misses} MISS, ${verdicts.length - passes - misses} not measured`].join(
    '\n',
  )
}

export function failureList(failures: readonly Failure[]): string {
  return failures
    .map((f) => `FAILED: ${f.input}, ${f.scenario}, ${f.reader}, round ${f.round + 1}: ${f.message}`)
    .join('\n')
}
