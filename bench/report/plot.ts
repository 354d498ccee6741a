import type { RowResult } from './statistics.ts'
import { formatValue } from './terminal.ts'

const [LABEL_WIDTH, PLOT_WIDTH, VALUE_WIDTH, LINE] = [130, 420, 90, 22]

/**
 * One row as an SVG: a bar to the median for each reader, a whisker from the smallest to the largest value, and a
 * dot for each round. Lower is better everywhere.
 */
export function plotRow({ row, unit, readers }: RowResult): string {
  const top = Math.max(...readers.map(({ max }) => max), Number.MIN_VALUE)
  const x = (value: number): string => (LABEL_WIDTH + (value / top) * PLOT_WIDTH).toFixed(1)
  const height = readers.length * LINE + 4
  const lines = readers.map(({ reader, median, min, max, values }, i) => {
    const y = i * LINE + 2
    const middle = y + LINE / 2
    const dots = values.map((value) => `<circle cx="${x(value)}" cy="${middle}" r="2"/>`).join('')
    return (
      `<text class="name" x="${LABEL_WIDTH - 6}" y="${middle + 4}">${escapeXml(reader)}</text>` +
      `<rect class="${reader.startsWith('ours') ? 'ours' : 'other'}" x="${LABEL_WIDTH}" y="${y + 3}" ` +
      `width="${((median / top) * PLOT_WIDTH).toFixed(1)}" height="${LINE - 6}"/>` +
      `<line x1="${x(min)}" x2="${x(max)}" y1="${middle}" y2="${middle}"/>${dots}` +
      `<text x="${LABEL_WIDTH + PLOT_WIDTH + 8}" y="${middle + 4}">${formatValue(median)} ${unit}</text>`
    )
  })
  const width = LABEL_WIDTH + PLOT_WIDTH + VALUE_WIDTH
  const title = `${row}, ${unit}, lower is better`
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(title)}">${lines.join('')}</svg>`
}

export function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
