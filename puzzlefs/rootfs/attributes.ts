import { type Name, XATTR_NAME_MAX } from '../../src/base/index.ts'
import type { Message, StructList } from '../message/message.ts'
import { attributesOf, type Inode } from './inode.ts'

/** Pointers of `Xattr`. */
const KEY = 0
const VALUE = 1
/** Most attributes of one inode that are looked at, and the longest value, bytes (include/uapi/linux/limits.h). */
const COUNT_MAX = 4096
const VALUE_MAX = 65_536

/** Extended attributes, by their full names. */
export class Attributes {
  readonly #message: Message

  constructor(message: Message) {
    this.#message = message
  }

  /** In the order in which they are stored; names that no attribute can have are left out. @throws DamageError */
  names(inode: Inode): readonly Name[] {
    const list = this.#list(inode)
    const names = new Set<Name>()
    for (let index = 0; index < list.count; index++) {
      const name = this.#name(list, index)
      if (name !== undefined) names.add(name)
    }
    return [...names]
  }

  /** @returns undefined where there is no such attribute. @throws DamageError */
  value(inode: Inode, wanted: Name): Uint8Array | undefined {
    const list = this.#list(inode)
    for (let index = 0; index < list.count; index++) {
      if (this.#name(list, index) !== wanted) continue
      const data = this.#message.data(this.#message.element(list, index), VALUE)
      if (data.length <= VALUE_MAX) return this.#message.bytes(data)
      throw this.#message.damage(data.at, `attribute ${JSON.stringify(wanted)} of ${data.length} bytes`)
    }
    return undefined
  }

  #list(inode: Inode): StructList {
    const list = attributesOf(this.#message, inode)
    if (list.count <= COUNT_MAX) return list
    throw this.#message.damage(list.at, `inode ${inode.ref}: ${list.count} attributes, at most ${COUNT_MAX}`)
  }

  #name(list: StructList, index: number): Name | undefined {
    const data = this.#message.data(this.#message.element(list, index), KEY)
    if (data.length === 0 || data.length > XATTR_NAME_MAX) return undefined
    const name = this.#message.text(data)
    return name.includes('\0') ? undefined : name
  }
}
