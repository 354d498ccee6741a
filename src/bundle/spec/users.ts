import { FsError, type PathText } from '../../base/index.ts'
import { MAX_ID } from '../../request/index.ts'
import type { SpecUser } from './types.ts'

/** Reads a file of the image as text; undefined where there is none. */
export type ReadText = (path: PathText) => string | undefined

/** Who runs a program, and where that user is at home. */
export interface FoundUser extends SpecUser {
  readonly home: string
}

interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

interface Group {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

/** As many groups as a process may have (limits.h, NGROUPS_MAX). */
const MOST_GROUPS = 65_536

/**
 * Looks a user up in `/etc/passwd` and `/etc/group` of the image (image-spec: conversion.md, "Config.User"). A number stands
 * for itself. The groups of a user in `/etc/group` come along where the user alone is named, by name.
 * @param text `USER[:GROUP]`, by names or numbers; root where it is empty
 * @param label of the image, for messages
 * @throws FsError ENOENT for a name that the image does not know, EINVAL for a number that is no id
 */
export function findUser(text: string, read: ReadText, label: string): FoundUser {
  const [name = '', groupName] = splitOnce(text === '' ? '0' : text)
  const accounts = parsePasswd(read('/etc/passwd') ?? '')
  const number = idOf(name, text)
  const account = accounts.find((one) => (number === undefined ? one.name === name : one.uid === number))
  if (account === undefined && number === undefined) throw unknown('user', name, '/etc/passwd', label)
  const uid = number ?? account?.uid ?? 0
  const home = account?.home.startsWith('/') ? account.home : '/'
  if (groupName === undefined || groupName === '') {
    const gid = account?.gid ?? 0
    if (number !== undefined || account === undefined) return { uid, gid, home }
    const further = parseGroups(read('/etc/group') ?? '')
      .filter((group) => group.gid !== gid && group.members.includes(account.name))
      .map((group) => group.gid)
    const additionalGids = [...new Set(further)].slice(0, MOST_GROUPS)
    return additionalGids.length === 0 ? { uid, gid, home } : { uid, gid, additionalGids, home }
  }
  const groupNumber = idOf(groupName, text)
  if (groupNumber !== undefined) return { uid, gid: groupNumber, home }
  const group = parseGroups(read('/etc/group') ?? '').find((one) => one.name === groupName)
  if (group === undefined) throw unknown('group', groupName, '/etc/group', label)
  return { uid, gid: group.gid, home }
}

/** Lines that are no account, such as those of NIS, do not count (passwd(5)). */
function parsePasswd(text: string): readonly Account[] {
  return text.split('\n').flatMap((line): Account[] => {
    const [name = '', , uid = '', gid = '', , home = '/'] = line.split(':')
    return isPlain(name) && isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid), home }] : []
  })
}

function parseGroups(text: string): readonly Group[] {
  return text.split('\n').flatMap((line): Group[] => {
    const [name = '', , gid = '', members = ''] = line.split(':')
    return isPlain(name) && isId(gid) ? [{ name, gid: Number(gid), members: members.trim().split(',') }] : []
  })
}

function isPlain(name: string): boolean {
  return name !== '' && !/^[+#-]/.test(name)
}

function isId(text: string): boolean {
  return /^\d{1,10}$/.test(text) && Number(text) <= MAX_ID
}

/** @returns undefined for a name. @throws FsError EINVAL */
function idOf(text: string, whole: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined
  if (isId(text)) return Number(text)
  throw new FsError(
    'EINVAL',
    `user ${JSON.stringify(whole)}: ${text.slice(0, 40)} is no id of a user or group`,
  )
}

function splitOnce(text: string): [string, string | undefined] {
  const colon = text.indexOf(':')
  return colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)]
}

function unknown(what: string, name: string, file: string, label: string): FsError {
  return new FsError(
    'ENOENT',
    `${label}: its ${file} has no ${what} ${JSON.stringify(name)}: name another with --user, or a number`,
  )
}
