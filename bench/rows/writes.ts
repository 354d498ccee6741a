import { writeRandomly } from '../inputs/index.ts'
import { dropCaches, expectAnswer, runClient, type Session, timedScript } from '../measure/index.ts'
import { recordMemory, settleAndDropCaches } from './whole-tree.ts'

const MIB = 2 ** 20

/** Makes many small files, reads them from the kernel's cache and from the disk, and deletes them. */
export async function measureSmallFiles({ target, subject, pids, record }: Session): Promise<void> {
  const count = needed(subject.writes?.smallFiles, 'a number of files')
  const directory = `${target}/made`
  await settleAndDropCaches()
  const made = await runClient('create', directory, `${count}`)
  record('writable-create', made.ms, 'ms')
  for (const row of ['writable-read-warm', 'writable-read-cold']) {
    if (row === 'writable-read-cold') {
      await timedScript(target, 'sync')
      await dropCaches()
    }
    const read = await runClient('read', directory, `${count}`)
    expectAnswer('bytes read', `${read.bytes}`, made.bytes)
    expectAnswer('digest of what was read', read.sha256, made.sha256)
    record(row, read.ms, 'ms')
  }
  const listed = await timedScript(directory, 'find . -type f | wc -l')
  expectAnswer('files', listed.output, count)
  recordMemory(pids, record)
  const deleted = await timedScript(target, 'rm -r made')
  const left = await timedScript(target, 'find . -maxdepth 1 -name made')
  expectAnswer('what is left', left.output, '')
  record('writable-delete', deleted.ms, 'ms')
}

/** Unpacks an archive that is in the page cache. */
export async function measureUnpack({ target, subject, record }: Session): Promise<void> {
  const { path, entries, tarBytes } = needed(subject.writes?.archive, 'an archive')
  await settleAndDropCaches()
  await timedScript('/', 'cat "$1" | wc -c', [path])
  const { ms } = await timedScript(target, 'mkdir unpacked && tar xf "$1" -C unpacked', [path])
  const listed = await timedScript(`${target}/unpacked`, 'find . -ls | wc -l')
  expectAnswer('find', listed.output, entries)
  const packed = await timedScript(`${target}/unpacked`, 'tar cf - . | wc -c')
  expectAnswer('bytes of tar', packed.output, tarBytes)
  record('writable-unpack', ms, 'ms')
}

/** Changes of one large file of the image, after which all of it lies in the upper. The image is cold. */
const CHANGES = {
  append: { script: 'printf x >>"$1"', mode: '644', added: 1 },
  chmod: { script: 'chmod 600 "$1"', mode: '600', added: 0 },
}

export function measureCopyUp(change: keyof typeof CHANGES): (session: Session) => Promise<void> {
  const { script, mode, added } = CHANGES[change]
  return async ({ target, subject, record }) => {
    const { name, bytes, sha256 } = needed(subject.facts.bigFile, 'a large file')
    await settleAndDropCaches()
    const { ms } = await timedScript(target, script, [name])
    const found = await timedScript(target, 'stat -c "%a %s" "$1"', [name])
    expectAnswer('mode and size', found.output, `${mode} ${bytes + added}`)
    const digest = await timedScript(target, 'head -c "$2" "$1" | sha256sum', [name, `${bytes}`])
    expectAnswer('digest of the copy', digest.output, `${sha256}  -`)
    record(`writable-copy-up-${change}`, ms, 'ms')
  }
}

/** Writes one file from its first to its last byte; it then lies in the page cache, not on the disk. */
export function measureSequential(blockSize: '1M' | '64k'): (session: Session) => Promise<void> {
  return async ({ target, subject, record }) => {
    const bytes = needed(subject.writes?.sequentialBytes, 'a size')
    const blocks = `${blockSize === '1M' ? bytes / MIB : (bytes / MIB) * 16}`
    await settleAndDropCaches()
    const script = 'dd if=/dev/zero of=sequential bs="$1" count="$2" status=none'
    const { ms } = await timedScript(target, script, [blockSize, blocks])
    const found = await timedScript(target, 'stat -c %s sequential; cmp -n "$1" sequential /dev/zero', [
      `${bytes}`,
    ])
    expectAnswer('size', found.output, bytes)
    record(`writable-sequential-${blockSize}`.toLowerCase(), ms, 'ms')
  }
}

/** Overwrites blocks of 4 KiB of a file of the upper, warm. @param row its name */
export function measureRandomWrites(row: string): (session: Session) => Promise<void> {
  return async ({ target, subject, record }) => {
    const plan = needed(subject.writes?.random, 'a plan of writes')
    await settleAndDropCaches()
    const script = 'head -c "$1" /dev/zero >random && sync'
    await timedScript(target, script, [`${plan.fileBytes}`])
    const value = await writeRandomly(`${target}/random`, plan)
    const digest = await timedScript(target, 'sha256sum <random')
    expectAnswer('digest of the file', digest.output, `${plan.sha256}  -`)
    record(row, value, 'us')
  }
}

/** Renames a directory that several layers have. Where that is refused, mv(1) copies it. */
export async function measureRename({ target, subject, record }: Session): Promise<void> {
  const { directory, entries } = needed(subject.writes?.moved, 'a directory')
  await settleAndDropCaches()
  const { ms } = await timedScript(target, 'mv "$1" moved', [directory])
  const listed = await timedScript(target, 'find moved -ls | wc -l')
  expectAnswer('find', listed.output, entries)
  const rest = await timedScript(target, 'find . -ls | wc -l')
  expectAnswer('find of everything', rest.output, subject.facts.entries)
  record('writable-rename', ms, 'ms')
}

/** Deletes a merged tree: all of the image but its large file. */
export async function measureRemoveTree({ target, subject, record }: Session): Promise<void> {
  const { name } = needed(subject.facts.bigFile, 'a large file')
  await settleAndDropCaches()
  const { ms } = await timedScript(target, 'rm -rf usr')
  const left = await timedScript(target, 'ls -A')
  expectAnswer('what is left', left.output, name)
  record('writable-remove', ms, 'ms')
}

function needed<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`this input has not ${what}`)
  return value
}
