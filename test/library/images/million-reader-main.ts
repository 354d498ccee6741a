import { closeSync, openSync } from 'node:fs'
import { dropPages } from '../programs/direct-io.ts'
import { Random } from '../trees/random.ts'
import { randomRange, readRange } from '../trees/reads.ts'
import { compareTrees } from '../trees/tree-compare.ts'
import { walkTree } from '../trees/tree-walk.ts'

/**
 * Works on a mount for some seconds and compares every byte with the tree that it was made from: as a reader of random
 * ranges of random files, or as one that walks the tree. Prints how much it did; the first difference is an error.
 */
const [kind, mount, source, seconds, seed] = process.argv.slice(2)
if (mount === undefined || source === undefined) {
  throw new Error('usage: reader-main read|walk MOUNT SOURCE SECONDS SEED')
}
const end = Date.now() + Number(seconds) * 1000
/** Smaller than most files of the tree, so that ranges cross blocks. */
const BLOCK = 32_768

function readFiles(random: Random): object {
  const files = walkTree(source ?? '', { noContent: true, noXattrs: true }).filter(
    ({ type, size }) => type === 'file' && (size ?? 0) > 0,
  )
  let reads = 0
  let bytes = 0
  do {
    const { path, size = 0 } = random.pick(files)
    const [ours, theirs] = [mount, source].map((root) =>
      Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]),
    )
    const whole = random.chance(0.2)
    for (let i = 0; i < (whole ? 1 : 8); i += 1) {
      const range = whole
        ? { way: 'buffered' as const, offset: 0, length: size }
        : randomRange(random, size, BLOCK)
      const actual = readRange(ours ?? '', range)
      if (!actual.equals(readRange(theirs ?? '', { ...range, way: 'buffered' }))) {
        throw new Error(`${JSON.stringify(path)}: wrong bytes, ${JSON.stringify(range)} of ${size}`)
      }
      reads += 1
      bytes += range.length
    }
    // Else a small tree would soon come from the page cache alone.
    const fd = openSync(ours ?? '', 'r')
    dropPages(fd)
    closeSync(fd)
  } while (Date.now() < end)
  return { reads, bytes, walks: 0 }
}

function walkAgain(): object {
  const expected = walkTree(source ?? '', { noContent: true })
  let walks = 0
  for (; walks === 0 || Date.now() < end; walks += 1) {
    const differences = compareTrees(walkTree(mount ?? '', { noContent: true }), expected, {
      ignoreDirectoryNlink: true,
    })
    if (differences.length > 0) throw new Error(differences.join('\n'))
  }
  return { reads: 0, bytes: 0, walks }
}

process.stdout.write(JSON.stringify(kind === 'walk' ? walkAgain() : readFiles(new Random(Number(seed)))))
