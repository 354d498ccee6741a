import { expectedFrom, runStartUp } from '../inputs/index.ts'
import { dropCaches, type Session } from '../measure/index.ts'

/** Starts programs whose library lies in the image, cold and again. */
export async function measureStartUp({ target, subject, record }: Session): Promise<void> {
  if (subject.facts.startUps.length === 0) throw new Error('the tree holds neither Python nor npm')
  for (const startUp of subject.facts.startUps) {
    await dropCaches()
    // From the machine's own copy: loads the interpreter and the libraries that are not in the image.
    await runStartUp(startUp, '')
    for (const kind of ['cold', 'warm']) {
      const start = performance.now()
      const output = await runStartUp(startUp, target)
      const ms = performance.now() - start
      const expected = expectedFrom(startUp, target)
      if (!output.startsWith(expected)) {
        throw new Error(`wrong answer: ${startUp.name} printed ${output}, expected ${expected}`)
      }
      record(`${startUp.name}-${kind}`, ms, 'ms')
    }
  }
}
