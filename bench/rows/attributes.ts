import { ATTRIBUTE_PROGRAMS } from '../inputs/index.ts'
import { expectAnswer, type Session, timedScript } from '../measure/index.ts'
import { settleAndDropCaches } from './whole-tree.ts'

const PROGRAMS = ['ls', 'getfattr', 'getcap'] as const

export const ATTRIBUTE_ROWS: readonly string[] = PROGRAMS.flatMap((name) => [`${name}-cold`, `${name}-warm`])

/** Programs that ask for the attributes of every name, each cold and again. */
export async function measureAttributes({ target, subject, record }: Session): Promise<void> {
  const { attributeLines } = subject.facts
  if (attributeLines === undefined) throw new Error('this tree was not made for attributes')
  for (const name of PROGRAMS) {
    await settleAndDropCaches()
    for (const row of [`${name}-cold`, `${name}-warm`]) {
      const { ms, output } = await timedScript(target, ATTRIBUTE_PROGRAMS[name])
      expectAnswer(`lines of ${name}`, output, attributeLines[name])
      record(row, ms, 'ms')
    }
  }
}
