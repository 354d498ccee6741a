import { NAME_MAX, type Name } from '../../src/base/index.ts'
import type { Message, StructList } from '../message/message.ts'

/** Fields of `DirEntry`: bytes of the data, numbers of pointers. */
const ENTRY = { ino: 0, name: 0 } as const

/** The number of the inode of an entry; one above 2^53 is no safe integer. */
export function numberAt(message: Message, list: StructList, index: number): number {
  return message.u64(message.element(list, index), ENTRY.ino)
}

/** The name of an entry; undefined where no file can have it. @throws DamageError */
export function nameAt(message: Message, list: StructList, index: number): Name | undefined {
  const data = message.data(message.element(list, index), ENTRY.name)
  if (data.length === 0 || data.length > NAME_MAX) return undefined
  const name = message.text(data)
  return name === '.' || name === '..' || name.includes('/') || name.includes('\0') ? undefined : name
}
