import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { BenchOptions } from '../options.ts'
import type { RunResult } from '../run.ts'
import { judge } from './goals.ts'
import { describeMachine, isBusy, type MachineFacts } from './machine.ts'
import { resultPage } from './page.ts'
import { summarize } from './statistics.ts'
import { failureList, resultTables, verdictTable } from './terminal.ts'

export { type MachineFacts, machineFacts } from './machine.ts'
export { type Statistics, statisticsOf } from './statistics.ts'
export { alignColumns, formatValue } from './terminal.ts'

/** Writes the JSON file and the page, and returns what the terminal shows. */
export function reportRun(result: RunResult, machine: MachineFacts, options: BenchOptions): string {
  const rows = summarize(result.samples)
  const verdicts = judge(rows, Number(process.versions.node.split('.')[0]))
  const { samples, failures, complete } = result
  const { rounds, quick, million, busy, scale } = options
  const page = options.json.replace(/(\.json)?$/, '.html')
  mkdirSync(dirname(options.json), { recursive: true })
  const document = {
    machine,
    options: { rounds, quick, million, busy, scale },
    complete,
    verdicts,
    rows,
    failures,
    samples,
  }
  writeFileSync(options.json, `${JSON.stringify(document, undefined, 1)}\n`)
  writeFileSync(page, resultPage({ machine, rows, verdicts, failures }))
  const parts = [
    describeMachine(machine).join('\n'),
    resultTables(rows),
    'Medians ± half of the spread over the rounds. Lower is better everywhere.',
    'What must be reached:',
    verdictTable(verdicts),
    failureList(failures),
    isBusy(machine) ? 'The machine had other work when this began: compare within the run only.' : '',
    scale === 1 ? '' : `Inputs were made at ${scale} of their size: this says nothing about speed.`,
    complete ? '' : 'Interrupted: some rounds are missing.',
    `${options.json}\n${page}`,
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}
