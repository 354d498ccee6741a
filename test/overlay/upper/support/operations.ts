import { createHash } from 'node:crypto'
import { FsError, isDirectory, isRegular, type Name, S_IFMT } from '../../../../src/base/index.ts'
import type { Random } from '../../../library/trees/random.ts'
import type { Seen, Side } from './side.ts'

/** One step for both sides, with a text to print when they differ. */
export interface Operation {
  readonly text: string
  readonly run: (side: Side) => unknown
}

const NAMES = ['a', 'b', 'c', 'dd', 'e\xe9', '-f', '.g']
/** Times before this are those that somebody set. */
export const RECENT = 1_600_000_000

function path(random: Random, depth = random.int(1, 3)): Name {
  return Array.from({ length: depth }, () => random.pick(NAMES)).join('/')
}

/** `Random.pick` takes undefined for an empty list. */
function chosen<T>(random: Random, items: readonly [T, ...T[]]): T {
  return items[random.int(0, items.length - 1)] ?? items[0]
}

/**
 * What both sides do next.
 * @param held handles in use
 * @param namespace in which an overlay keeps its own attributes; it escapes those of users there
 */
export function randomOperation(
  random: Random,
  held: ReadonlySet<number>,
  namespace: 'user' | 'trusted',
): Operation {
  const roll = random.int(0, 99)
  if (roll < 14 && held.size > 0) return heldOperation(random, held)
  const [one, two] = [path(random), path(random)]
  const mode = random.pick([0o644, 0o600, 0o755, 0o4755, 0o2755, 0o2644, 0o1777, 0o777, 0])
  const call = (name: string, args: readonly unknown[], run: (side: Side) => unknown): Operation => ({
    text: `${name} ${args.map((arg) => JSON.stringify(arg)).join(' ')}`,
    run,
  })
  if (roll < 18) {
    const handle = random.int(0, 9)
    if (held.has(handle)) return heldOperation(random, held)
    if (random.chance(0.2)) {
      return call('tmpfile', [one, mode, handle], (side) => side.tmpfile(one, mode & 0o777, handle))
    }
    return call('hold', [one, handle], (side) => side.hold(one, handle))
  }
  if (roll < 26) return call('create', [one, mode], (side) => side.create(one, mode))
  if (roll < 34) return call('mkdir', [one, mode], (side) => side.mkdir(one, mode))
  if (roll < 37) return call('symlink', [one, two], (side) => side.symlink(one, two))
  if (roll < 39) return call('mkfifo', [one, mode], (side) => side.mkfifo(one, mode))
  if (roll < 45) return call('link', [one, two], (side) => side.link(one, two))
  if (roll < 53) return call('unlink', [one], (side) => side.unlink(one))
  if (roll < 60) return call('rmdir', [one], (side) => side.rmdir(one))
  if (roll < 72) {
    const how = random.pick(['replace', 'replace', 'replace', 'noreplace', 'exchange'] as const)
    return call('rename', [one, two, how], (side) => side.rename(one, two, how))
  }
  if (roll < 75) return call('chmod', [one, mode], (side) => side.chmod(one, mode))
  if (roll < 78) {
    const [uid, gid] = [chosen(random, [undefined, 0, 5]), chosen(random, [undefined, 0, 6])]
    return call('chown', [one, uid, gid], (side) => side.chown(one, uid, gid))
  }
  if (roll < 81) {
    const time = { seconds: random.int(-5, 1_500_000_000), nanoseconds: random.int(0, 999_999_999) }
    const atime = chosen(random, [undefined, 'now' as const, time])
    return call('times', [one, atime, time], (side) => side.times(one, atime, time))
  }
  if (roll < 84) {
    const size = random.int(0, 9000)
    return call('truncate', [one, size], (side) => side.truncate(one, size))
  }
  if (roll < 90) {
    const [offset, data] = [random.int(0, 9000), random.text(random.int(1, 300)).toString()]
    return call('write', [one, offset, data.length], (side) => side.write(one, offset, data))
  }
  const name = random.pick([
    'user.x',
    'user.y',
    'trusted.z',
    `${namespace}.overlay.opaque`,
    `${namespace}.overlay.redirect`,
  ])
  if (roll < 96) {
    const how = random.pick(['either', 'either', 'create', 'replace'] as const)
    return call('setxattr', [one, name, how], (side) => side.setxattr(one, name, `v${roll}`, how))
  }
  return call('removexattr', [one, name], (side) => side.removexattr(one, name))
}

function heldOperation(random: Random, held: ReadonlySet<number>): Operation {
  const handle = random.pick([...held])
  const roll = random.int(0, 9)
  if (roll < 3) {
    const [offset, data] = [random.int(0, 5000), random.text(20).toString()]
    return {
      text: `heldWrite ${handle} ${offset}`,
      run: (side) => side.heldWrite(handle, offset, data),
    }
  }
  if (roll < 4) return { text: `heldTruncate ${handle}`, run: (side) => side.heldTruncate(handle, 100) }
  if (roll < 5) return { text: `heldChmod ${handle}`, run: (side) => side.heldChmod(handle, 0o640) }
  if (roll < 6) {
    const to = path(random)
    return { text: `heldLink ${handle} ${to}`, run: (side) => side.heldLink(handle, to) }
  }
  if (roll < 8) return { text: `heldLook ${handle}`, run: (side) => describe(side.heldLook(handle)) }
  return { text: `release ${handle}`, run: (side) => side.release(handle) }
}

/** `ok` with what it gave, or the errno. */
export function outcome(operation: Operation, side: Side): string {
  try {
    return `ok ${JSON.stringify(operation.run(side) ?? '')}`
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}

/** The handles that are in use after an operation. */
export function updateHeld(held: Set<number>, { text }: Operation, result: string): void {
  const [, handle] = /^(?:hold|tmpfile|release).* (\d+)$/.exec(text) ?? []
  if (handle === undefined || !result.startsWith('ok')) return
  if (text.startsWith('release')) held.delete(Number(handle))
  else held.add(Number(handle))
}

/** Steps on one side alone. @returns what each gave; nothing is held afterwards */
export function runRandom(side: Side, random: Random, steps: number): string[] {
  const held = new Set<number>()
  const results: string[] = []
  for (let step = 0; step < steps; step++) {
    const operation = randomOperation(random, held, 'user')
    const result = outcome(operation, side)
    results.push(`${step} ${operation.text}: ${result}`)
    updateHeld(held, operation, result)
  }
  for (const handle of held) side.release(handle)
  return results
}

/** Everything that must agree of a file. Times count only where somebody set them. */
export function describe({ stat, content, xattrs }: Seen): string {
  const type = (stat.mode & S_IFMT).toString(8)
  const mode = (stat.mode & 0o7777).toString(8)
  // Overlays count subdirectories or not, as it comes.
  const nlink = isDirectory(stat.mode) ? Math.min(stat.nlink, 1) : stat.nlink
  const size = isRegular(stat.mode) ? stat.size : 0
  const mtime = stat.mtime < RECENT ? `${stat.mtime}.${stat.mtimeNsec}` : 'recent'
  const directory = isDirectory(stat.mode)
  return JSON.stringify({
    type,
    mode,
    nlink,
    uid: stat.uid,
    gid: stat.gid,
    size,
    mtime,
    directory,
    content: digest(content),
    xattrs,
  })
}

/** Short, so that a difference can be read. */
function digest(content: string | undefined): string | undefined {
  if (content === undefined || content.length < 40) return content
  const hash = createHash('sha256').update(content, 'latin1').digest('hex').slice(0, 12)
  return `${content.slice(0, 10)}… ${hash}`
}

/** Every path with its description. */
export function describeTree(side: Side, at = '', into = new Map<string, string>()): Map<string, string> {
  into.set(at || '/', describe(side.look(at)))
  for (const name of side.list(at).sort()) {
    const child = at === '' ? name : `${at}/${name}`
    const seen = side.look(child)
    if (isDirectory(seen.stat.mode)) describeTree(side, child, into)
    else into.set(child, describe(seen))
  }
  return into
}
