import { closeSync } from 'node:fs'
import { FsError, isErrno, PERMISSIONS } from '../../base/index.ts'
import { connectStream, listenStream, peerOf } from '../../sys/events/unix-stream.ts'
import type { Folder } from '../../sys/files/folder.ts'
import { withFolderLock } from '../../sys/files/lock.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { makeRunDir, runDirCandidates } from '../runtime/folders.ts'
import { sumOf } from './key.ts'

const SERVERS = 'servers'
const SOCKET = 'socket'
const PRIVATE = 0o700

/** Somebody else has prepared what a server should have. */
export class Untrusted extends FsError {}

/** The folder in which the server of a key listens. */
export class ServerFolder {
  readonly folder: Folder
  readonly #servers: Folder
  readonly #name: string

  private constructor(servers: Folder, name: string) {
    this.folder = privateFolder(servers, name)
    this.#servers = servers
    this.#name = name
  }

  /** Opens it, and makes it where it is missing. @throws FsError EPERM for one that others could change; EACCES, … */
  static make(key: string): ServerFolder {
    const { folder: runDir, entries } = makeRunDir(runDirCandidates(undefined))
    entries.close()
    try {
      return new ServerFolder(privateFolder(runDir, SERVERS), sumOf(key))
    } finally {
      runDir.close()
    }
  }

  /** @returns a connection; undefined where nobody listens. @throws FsError EPERM where another user does */
  connect(): number | undefined {
    const fd = connectStream(this.#address())
    if (fd === undefined) return undefined
    const { uid } = peerOf(fd)
    if (uid === effectiveUid()) return fd
    closeSync(fd)
    throw new Untrusted('EPERM', `${this.folder.pathOf(SOCKET)} belongs to a server of user ${uid}`)
  }

  /**
   * Listens in place of a server, where there is none.
   * @returns the socket; undefined where a server has come meanwhile, or the folder has gone
   */
  listen(): number | undefined {
    return withFolderLock(this.folder.fd, this.folder.path, () => {
      if (this.folder.stat().nlink === 0) return undefined
      const present = connectStream(this.#address())
      if (present !== undefined) {
        closeSync(present)
        return undefined
      }
      this.folder.remove(SOCKET)
      return listenStream(this.#address())
    })
  }

  /**
   * Nobody finds the server any more.
   * @param isWanted whether it is to go on, asked under the lock
   * @param isClean nothing is to stay, not even the log
   * @returns false where it is to go on
   */
  leave(isWanted: () => boolean, isClean: boolean): boolean {
    return withFolderLock(this.folder.fd, this.folder.path, () => {
      if (isWanted()) return false
      this.folder.remove(SOCKET)
      // A client that has opened it sees that it has no name any more.
      if (isClean) this.#servers.remove(this.#name)
      return true
    })
  }

  close(): void {
    this.folder.close()
    this.#servers.close()
  }

  /** Through the descriptor: a path may be longer than an address, and lead elsewhere. */
  #address(): string {
    return `${descriptorPath(this.folder.fd)}/${SOCKET}`
  }
}

/** @throws FsError EPERM where somebody else made it, or could change what is in it */
function privateFolder(parent: Folder, name: string): Folder {
  let folder: Folder
  try {
    folder = parent.make(name, PRIVATE)
  } catch (error) {
    if (!isErrno(error, 'ENOTDIR', 'ELOOP')) throw error
    throw new Untrusted('EPERM', `${parent.pathOf(name)} is no folder`, { cause: error })
  }
  const { uid, mode } = folder.stat()
  if (uid === effectiveUid() && (mode & PERMISSIONS) === PRIVATE) return folder
  folder.close()
  const permissions = (mode & PERMISSIONS).toString(8)
  throw new Untrusted('EPERM', `${folder.path} belongs to user ${uid} and has mode ${permissions}`)
}
