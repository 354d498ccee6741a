import { closeSync, constants, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { presentUpperStat } from '../../../overlay/stored/owner-record.ts'
import { makeCopy } from '../../../overlay/upper/disk/copy.ts'
import { WorkDirectory } from '../../../overlay/upper/disk/work-directory.ts'
import { probeUpper } from '../../../overlay/upper/upper-policy.ts'
import type { Stat } from '../../../src/base/index.ts'
import { O_PATH, openAt, renameAt, reopenFd } from '../../../src/sys/files/at.ts'
import { listNames } from '../../../src/sys/files/directory-entries.ts'
import { chmodFd } from '../../../src/sys/files/fd-attributes.ts'
import { pread } from '../../../src/sys/files/file-io.ts'
import { statFd } from '../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd } from '../../../src/sys/files/xattr.ts'
import { setUmask0 } from '../../../src/sys/process/session.ts'

/**
 * Copies files up as the user it runs as: `FOLDER`, which has `upper` and `work`, and a list of sources in
 * `sources.json`. Prints what was found and made, for the test that started it.
 */

export interface PlainSource {
  readonly name: string
  readonly stat: Stat
  readonly content: string
  readonly xattrs: readonly (readonly [name: string, hex: string])[]
}

export interface PlainCopy {
  readonly name: string
  readonly shown: Stat
  readonly host: Stat
  readonly attributes: Readonly<Record<string, string>>
  readonly content: string
}

const folder = process.argv[2] ?? ''
const sources: readonly PlainSource[] = JSON.parse(readFileSync(join(folder, 'sources.json'), 'utf8'))

setUmask0()
const upperFd = openSync(join(folder, 'upper'), O_PATH)
const work = new WorkDirectory(openSync(join(folder, 'work'), O_PATH), 'work')
leaveSomething()
work.clean()
const policy = probeUpper(work, upperFd)
const copies = sources.map(copy)
process.stdout.write(JSON.stringify({ policy, copies, left: listNames(work.fd) }))

/** What a crash may leave: directories without rights, a file and a link below them. */
function leaveSomething(): void {
  const outer = join(folder, 'work/work/#0')
  mkdirSync(join(outer, 'inner'), { recursive: true })
  writeFileSync(join(outer, 'inner/file'), '')
  symlinkSync(folder, join(outer, 'inner/link'))
  for (const path of [join(outer, 'inner'), outer]) {
    const fd = openSync(path, O_PATH)
    chmodFd(fd, 0)
    closeSync(fd)
  }
}

function copy({ name, stat, content, xattrs }: PlainSource): PlainCopy {
  const bytes = Buffer.from(content, 'latin1')
  const temporary = makeCopy(
    {
      stat,
      target: bytes,
      data: { read: (offset, target) => bytes.copy(target, 0, offset) },
      xattrs: xattrs.map(([attribute, hex]) => [attribute, Buffer.from(hex, 'hex')]),
      own: [['user.overlay.atomfs.ino', Buffer.from('77')]],
    },
    work,
    policy,
  )
  renameAt(work.fd, temporary, upperFd, name, 0)
  const fd = openAt(upperFd, name, O_PATH)
  const host = statFd(fd)
  const found = Buffer.alloc(host.size)
  const isFile = (host.mode & constants.S_IFMT) === constants.S_IFREG
  return {
    name,
    host,
    shown: presentUpperStat(fd, host, policy),
    attributes: Object.fromEntries(
      listxattrFd(fd).map((one) => [one, Buffer.from(getxattrFd(fd, one) ?? []).toString('latin1')]),
    ),
    content: isFile ? found.toString('latin1', 0, pread(reopenFd(fd, constants.O_RDONLY), 0, found)) : '',
  }
}
