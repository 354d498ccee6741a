import type { Unit } from '../measure/index.ts'
import type { Sample } from '../run.ts'

export interface Statistics {
  readonly count: number
  readonly median: number
  readonly min: number
  readonly max: number
  /** (max − min) / median. */
  readonly spread: number
}

/** @param values at least one */
export function statisticsOf(values: readonly number[]): Statistics {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(middle) - 1] ?? Number.NaN, sorted[Math.floor(middle)] ?? Number.NaN]
  const median = (low + high) / 2
  const [min, max] = [sorted[0] ?? Number.NaN, sorted.at(-1) ?? Number.NaN]
  return { count: sorted.length, median, min, max, spread: median === 0 ? 0 : (max - min) / median }
}

export interface ReaderResult extends Statistics {
  readonly reader: string
  /** In the order of the rounds. */
  readonly values: readonly number[]
}

/** One row of one image with all its readers, in the order in which they first ran. */
export interface RowResult {
  readonly input: string
  readonly row: string
  readonly unit: Unit
  readonly readers: readonly ReaderResult[]
}

export function summarize(samples: readonly Sample[]): RowResult[] {
  const rows = new Map<string, { readonly first: Sample; readonly byReader: Map<string, number[]> }>()
  for (const sample of samples) {
    const key = `${sample.input}\n${sample.row}`
    const row = rows.get(key) ?? { first: sample, byReader: new Map<string, number[]>() }
    rows.set(key, row)
    const values = row.byReader.get(sample.reader) ?? []
    row.byReader.set(sample.reader, [...values, sample.value])
  }
  return [...rows.values()].map(({ first, byReader }) => ({
    input: first.input,
    row: first.row,
    unit: first.unit,
    readers: [...byReader].map(([reader, values]) => ({ reader, values, ...statisticsOf(values) })),
  }))
}

export function findReader(
  rows: readonly RowResult[],
  input: string,
  row: string,
  reader: string,
): ReaderResult | undefined {
  return rows.find((r) => r.input === input && r.row === row)?.readers.find((r) => r.reader === reader)
}

export interface Ratio {
  /** Of the medians. */
  readonly value: number
  /** Smallest and largest ratio within a round: how far the machine's moods reach. */
  readonly low: number
  readonly high: number
}

/** `ours` as a multiple of `other`. Rounds are compared with each other where both have them all. */
export function ratioOf(ours: ReaderResult, other: ReaderResult): Ratio {
  const paired =
    ours.values.length === other.values.length
      ? ours.values.map((value, i) => value / (other.values[i] ?? Number.NaN))
      : [ours.min / other.max, ours.max / other.min]
  return { value: ours.median / other.median, low: Math.min(...paired), high: Math.max(...paired) }
}
