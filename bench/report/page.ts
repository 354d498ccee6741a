import type { Failure } from '../run.ts'
import type { Verdict } from './goals.ts'
import { describeMachine, type MachineFacts } from './machine.ts'
import { escapeXml, plotRow } from './plot.ts'
import type { RowResult } from './statistics.ts'
import { failureList } from './terminal.ts'

export interface PageData {
  readonly machine: MachineFacts
  readonly rows: readonly RowResult[]
  readonly verdicts: readonly Verdict[]
  readonly failures: readonly Failure[]
}

const STYLE = `
:root { color-scheme: light dark; --ours: #2b7a5b; --other: #8a94a6; --text: #1c1f24; --back: #fff; --line: #d5d9e0; --miss: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ours: #56b68f; --other: #687083; --text: #e6e8ec; --back: #16181c; --line: #343841; --miss: #ff8a80 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 760px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid var(--line) }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif } svg text { fill: var(--text) } svg .name { text-anchor: end }
.ours { fill: var(--ours) } .other { fill: var(--other) } svg line, svg circle { stroke: var(--text); fill: var(--text) }
.MISS { color: var(--miss); font-weight: 600 } .pass { color: var(--ours) } pre { white-space: pre-wrap; color: var(--miss) }
`

/** A page that needs nothing but itself. */
export function resultPage({ machine, rows, verdicts, failures }: PageData): string {
  const inputs = [...new Set(rows.map(({ input }) => input))]
  const sections = inputs.map((input) => {
    const plots = rows
      .filter((row) => row.input === input)
      .map((row) => `<h3>${escapeXml(row.row)}</h3>\n${plotRow(row)}`)
    return `<h2>${escapeXml(input)}</h2>\n${plots.join('\n')}`
  })
  const goals = verdicts.map(
    ({ goal, outcome, found }) =>
      `<tr><td>${escapeXml(goal)}</td><td class="${outcome === 'not measured' ? '' : outcome}">${outcome}</td><td>${escapeXml(found)}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>atomfs-fuse benchmark</title><style>${STYLE}</style></head><body>
<h1>atomfs-fuse benchmark</h1>
<p>${describeMachine(machine).map(escapeXml).join('<br>')}</p>
<p>Bars are medians, whiskers reach from the smallest to the largest value, dots are rounds. Lower is better in every plot.</p>
${failures.length === 0 ? '' : `<pre>${escapeXml(failureList(failures))}</pre>`}
<h2>What must be reached</h2>
<table><tr><th>cell</th><th></th><th>found</th></tr>
${goals.join('\n')}
</table>
${sections.join('\n')}
</body></html>
`
}
