import type { Name } from '../../src/base/index.ts'

/** What a layer has at a path so far. */
interface Names {
  /** @returns an inode */
  find(path: Name): number | undefined
  setInode(path: Name, inode: number): void
}

interface LateLink {
  readonly path: Name
  readonly inode: number
}

/**
 * Hard links whose file has not come when they do. Each gets an inode that stands for what the layers below have at its
 * target; where the layer itself has it in the end, the link becomes one to that.
 */
export class LateLinks {
  readonly #links: LateLink[] = []
  /** Targets by the inodes that stand for them. */
  readonly #targets = new Map<number, Name>()
  /** Where those were found to lead: of links to links, each is followed once. */
  readonly #found = new Map<number, number>()

  /** @param inode that the path has until then */
  add(path: Name, target: Name, inode: number): void {
    this.#links.push({ path, inode })
    this.#targets.set(inode, target)
  }

  /** Adds another name of a link. */
  repeat(path: Name, inode: number): void {
    this.#links.push({ path, inode })
  }

  isOne(inode: number): boolean {
    return this.#targets.has(inode)
  }

  /** All entries have come. @param assertLinkable throws for what cannot be linked to */
  settle(names: Names, assertLinkable: (path: Name, target: Name, inode: number) => void): void {
    for (const { path, inode } of this.#links) {
      // Another entry may have taken its place.
      if (names.find(path) !== inode) continue
      const target = this.#targets.get(inode) ?? ''
      const found = this.#follow(inode, names)
      assertLinkable(path, target, found)
      names.setInode(path, found)
    }
  }

  /** What a link leads to, through links to links: the file, or what stands for one of the layers below. */
  #follow(first: number, names: Names): number {
    const way = new Set<number>()
    let inode = first
    for (let target = this.#targets.get(inode); target !== undefined; target = this.#targets.get(inode)) {
      const found = this.#found.get(inode)
      if (found !== undefined) {
        inode = found
        break
      }
      if (way.has(inode)) break
      way.add(inode)
      const next = names.find(target)
      if (next === undefined) break
      inode = next
    }
    for (const one of way) this.#found.set(one, inode)
    return inode
  }
}
