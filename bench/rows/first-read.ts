import { setTimeout } from 'node:timers/promises'
import { dropCaches, expectAnswer, type Session, timedScript } from '../measure/index.ts'

/** How long after the mount, ms: what a mount does on the side after its start is over, or waits for its end. */
const AFTER = 3000
/** Bytes that are read at a time, as cat(1) does, and how often: 3 MB. */
const PIECE = 131_072
const PIECES = 23

/** The first bytes of a file in a mount that nobody has used yet. */
export async function measureFirstRead({ target, subject, record }: Session): Promise<void> {
  const { bigFile } = subject.facts
  if (bigFile === undefined) throw new Error('this tree has no large file')
  const ready = performance.now()
  await dropCaches()
  await setTimeout(Math.max(0, AFTER - (performance.now() - ready)))
  const script = 'dd if="$1" bs="$2" count="$3" status=none | wc -c'
  const { ms, output } = await timedScript(target, script, [bigFile.name, `${PIECE}`, `${PIECES}`])
  expectAnswer('bytes read', output, Math.min(bigFile.bytes, PIECE * PIECES))
  record('first-read', ms, 'ms')
}
