import assert from 'node:assert/strict'
import fs from 'node:fs'
import { join } from 'node:path'
import { copyRange, fallocateFd } from '../../../src/sys/files/file-io.ts'
import { getxattrFd, listxattrFd, removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import {
  aclOf,
  asNobody,
  cachedMode,
  codeOf,
  NOBODY,
  pattern,
  type Scenario,
  statusOf,
  withFile,
} from './scenario-tools.ts'

const { O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = fs.constants
const [USER_OBJ, USER, GROUP_OBJ, MASK, OTHER] = [1, 2, 4, 16, 32]
const ACCESS_ACL = 'system.posix_acl_access'

/** Owners, modes, access lists and extended attributes: who may do what, and what goes away by itself. */
export const rightsScenarios: Readonly<Record<string, Scenario>> = {
  'a write by somebody without the right takes setuid away, at once': (directory) => {
    fs.writeFileSync(join(directory, 'source'), 'source')
    const ways: Record<string, (path: string) => void> = {
      write: (path) => asNobody(() => withFile(path, O_WRONLY, (fd) => fs.writeSync(fd, 'x'))),
      truncate: (path) => asNobody(() => fs.truncateSync(path, 1)),
      open: (path) => asNobody(() => withFile(path, O_WRONLY | O_TRUNC, () => {})),
      allocate: (path) => asNobody(() => withFile(path, O_WRONLY, (fd) => fallocateFd(fd, 0, 0, 9999))),
      copy: (path) =>
        asNobody(() =>
          withFile(join(directory, 'source'), O_RDONLY, (from) =>
            withFile(path, O_WRONLY, (to) => copyRange(from, 0, to, 0, 5)),
          ),
        ),
      chown: (path) => fs.chownSync(path, 12, 34),
    }
    for (const [name, way] of Object.entries(ways)) {
      for (const [mode, after] of [
        [0o6777, '777'],
        [0o4755, '755'],
        [0o2717, '717'],
      ] as const) {
        const file = join(directory, `${name}-${mode}`)
        fs.writeFileSync(file, 'content')
        fs.chownSync(file, NOBODY, NOBODY)
        fs.chmodSync(file, mode)
        assert.equal(cachedMode(file), mode.toString(8))
        way(file)
        assert.equal(cachedMode(file), after, `${name}, mode ${mode.toString(8)}`)
        assert.equal((fs.statSync(file).mode & 0o7777).toString(8), after)
      }
    }
  },

  'the right to keep setuid is the one of root': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, 'content')
    fs.chmodSync(file, 0o6755)
    withFile(file, O_WRONLY, (fd) => fs.writeSync(fd, 'x'))
    assert.equal(cachedMode(file), '6755')
    fs.mkdirSync(join(directory, 'sub'))
    fs.chmodSync(join(directory, 'sub'), 0o6755)
    fs.chownSync(join(directory, 'sub'), 12, 34)
    assert.equal(cachedMode(join(directory, 'sub')), '6755')
  },

  'security.capability goes with a write': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, 'content')
    assert.equal(statusOf('setcap', 'cap_net_raw+ep', file), 0)
    withFile(file, O_RDWR, (fd) => {
      assert(listxattrFd(fd).includes('security.capability'))
      fs.writeSync(fd, 'x')
      assert.equal(getxattrFd(fd, 'security.capability'), undefined)
    })
  },

  'permissions are checked by owner and mode': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, 'secret', { mode: 0o600 })
    fs.chmodSync(directory, 0o777)
    asNobody(() => {
      assert.equal(
        codeOf(() => fs.readFileSync(file)),
        'EACCES',
      )
      assert.equal(
        codeOf(() => fs.chmodSync(file, 0o666)),
        'EPERM',
      )
      // What is made without the right to write to it is still open for writing.
      withFile(join(directory, 'mine'), O_CREAT | O_RDWR, (fd) => fs.writeSync(fd, 'x'), 0o444)
      assert.equal(
        codeOf(() => fs.openSync(join(directory, 'mine'), O_RDWR)),
        'EACCES',
      )
    })
    const { uid, gid, mode } = fs.statSync(join(directory, 'mine'))
    assert.deepEqual([uid, gid, mode & 0o7777], [NOBODY, NOBODY, 0o444])
    fs.chmodSync(file, 0o604)
    asNobody(() => assert.equal(fs.readFileSync(file, 'latin1'), 'secret'))
    fs.chmodSync(directory, 0o1777)
    asNobody(() =>
      assert.equal(
        codeOf(() => fs.unlinkSync(file)),
        'EPERM',
      ),
    )
  },

  'access lists decide, and go with the mode': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, 'listed', { mode: 0o600 })
    fs.chmodSync(directory, 0o755)
    const read = () => asNobody(() => codeOf(() => fs.readFileSync(file)))
    assert.equal(read(), 'EACCES')
    withFile(file, O_RDWR, (fd) => {
      const acl = aclOf([USER_OBJ, 6], [USER, 4, NOBODY], [GROUP_OBJ, 0], [MASK, 4], [OTHER, 0])
      setxattrFd(fd, ACCESS_ACL, acl, 'either')
      assert.equal(cachedMode(file), '640')
      assert.equal(read(), 'success')
      fs.fchmodSync(fd, 0o600)
      assert.equal(read(), 'EACCES')
      fs.fchmodSync(fd, 0o640)
      assert.equal(read(), 'success')
      removexattrFd(fd, ACCESS_ACL)
      assert.equal(read(), 'EACCES')
    })
  },

  'a list that is set from outside of the group takes setgid away': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, '')
    fs.chmodSync(directory, 0o755)
    fs.chownSync(file, NOBODY, 4321)
    const acl = aclOf([USER_OBJ, 7], [USER, 5, 1], [GROUP_OBJ, 5], [MASK, 5], [OTHER, 5])
    for (const [use, after] of [
      [(call: () => void) => call(), '2755'],
      [asNobody, '755'],
    ] as const) {
      fs.chmodSync(file, 0o2755)
      withFile(file, O_RDONLY, (fd) => use(() => setxattrFd(fd, ACCESS_ACL, acl, 'either')))
      assert.equal(cachedMode(file), after)
    }
  },

  'extended attributes': (directory) => {
    const file = join(directory, 'file')
    withFile(file, O_CREAT | O_RDWR, (fd) => {
      setxattrFd(fd, 'trusted.one', Buffer.from('\0value\xff', 'latin1'), 'create')
      assert.equal(
        codeOf(() => setxattrFd(fd, 'trusted.one', Buffer.from('x'), 'create')),
        'EEXIST',
      )
      assert.equal(
        codeOf(() => setxattrFd(fd, 'trusted.two', Buffer.from('x'), 'replace')),
        'ENODATA',
      )
      assert.equal(Buffer.from(getxattrFd(fd, 'trusted.one') ?? []).toString('latin1'), '\0value\xff')
      setxattrFd(fd, 'trusted.one', new Uint8Array(), 'replace')
      assert.equal(getxattrFd(fd, 'trusted.one')?.length, 0)
      const large = pattern(3000, 8)
      setxattrFd(fd, 'trusted.large', large, 'either')
      assert(large.equals(Buffer.from(getxattrFd(fd, 'trusted.large') ?? [])))
      assert.deepEqual(
        listxattrFd(fd)
          .filter((name) => name.startsWith('trusted.'))
          .sort(),
        ['trusted.large', 'trusted.one'],
      )
      removexattrFd(fd, 'trusted.one')
      assert.equal(
        codeOf(() => removexattrFd(fd, 'trusted.one')),
        'ENODATA',
      )
    })
  },

  'locks are the kernel’s': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, '')
    assert.equal(statusOf('flock', '-n', file, 'flock', '-n', file, 'true'), 1)
    assert.equal(statusOf('flock', '-n', '-s', file, 'flock', '-n', '-s', file, 'true'), 0)
  },
}
