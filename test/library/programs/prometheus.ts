/** One line of metrics. */
export interface ReadSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/s
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,(?=.)|$)/sy

/**
 * Reads the text format of Prometheus as strictly as `promtool check metrics`, or stricter: each family has HELP and TYPE,
 * in this order, and its samples follow at once; names have base units; no series comes twice.
 * @throws Error that names the line
 */
export function readMetrics(text: string): readonly ReadSample[] {
  if (!text.endsWith('\n')) throw new Error('no newline at the end')
  const samples: ReadSample[] = []
  const series = new Set<string>()
  const families = new Set<string>()
  let family = ''
  let type = ''
  for (const line of text.slice(0, -1).split('\n')) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`)
    }
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/s.exec(line) ?? []
    if (kind === 'HELP') {
      if (!NAME.test(name) || families.has(name)) fail('name of a family')
      if (!/^(?:[^\\]|\\[\\n])*$/.test(rest)) fail('escape in a help text')
      families.add(name)
      family = name
      type = ''
    } else if (kind === 'TYPE') {
      if (name !== family || type !== '' || !['counter', 'gauge'].includes(rest)) fail('type of a family')
      if (name.endsWith('_total') !== (rest === 'counter')) fail('a counter ends with _total')
      if (/_(ms|milliseconds|kib|mib|kilobytes|count|bytes_total_.*)$/.test(name)) fail('unit')
      type = rest
    } else {
      const match = SAMPLE.exec(line) ?? fail('a sample')
      if (match[1] !== family || type === '') fail('a sample outside its family')
      const labels = readLabels(match[2] ?? '') ?? fail('labels')
      const key = JSON.stringify([match[1], Object.entries(labels).sort()])
      if (series.has(key)) fail('twice')
      series.add(key)
      if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(match[3] ?? '')) fail('a value')
      samples.push({ name: family, labels, value: Number(match[3]) })
    }
  }
  return samples
}

function readLabels(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, name, value = ''] = LABEL.exec(text) ?? []
    if (name === undefined || name.startsWith('__') || name in labels) return undefined
    labels[name] = value.replace(/\\(.)/g, (_, one) => (one === 'n' ? '\n' : one))
  }
  return labels
}
