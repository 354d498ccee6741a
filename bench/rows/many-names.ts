import { dropCaches, expectAnswer, type Session, timedScript } from '../measure/index.ts'
import { recordMemory, settleAndDropCaches } from './whole-tree.ts'

/** A million names take the slower readers some minutes. */
const TIMEOUT = 900_000

/** A thousand names at random places, then all of them: what a large directory costs. */
export async function measureManyNames({ target, subject, pids, record }: Session): Promise<void> {
  const { lookups, entries } = subject.facts
  if (lookups !== undefined) {
    await settleAndDropCaches()
    const found = await timedScript(target, 'xargs -0 stat -c %s <"$1" | wc -l', [lookups.list], TIMEOUT)
    expectAnswer('names found', found.output, lookups.count)
    record('lookup-1000-cold', found.ms, 'ms')
  }
  await dropCaches()
  const listed = await timedScript(target, 'find . -ls | wc -l', [], TIMEOUT)
  expectAnswer('find', listed.output, entries)
  record('find-cold', listed.ms, 'ms')
  recordMemory(pids, record)
}
