import { createInterface } from 'node:readline'
import { type SurveyLimits, survey } from './survey.ts'

/** The program of `Reader`: one question as JSON in each line of input, one survey in each line of output. */
export interface Question {
  readonly root: string
  readonly known: readonly string[]
  readonly limits: SurveyLimits
}

for await (const line of createInterface({ input: process.stdin })) {
  const { root, known, limits } = JSON.parse(line) as Question
  process.stdout.write(`${JSON.stringify(survey(root, known, limits))}\n`)
}
