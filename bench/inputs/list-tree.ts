import { lstatSync, readdirSync, type Stats } from 'node:fs'
import { join } from 'node:path'

export interface Listed {
  /** Relative to the root of the tree. */
  readonly name: string
  readonly stat: Stats
}

/**
 * Everything below a directory, each directory before its content, in byte order. Symbolic links are not followed: the
 * recursive form of `readdirSync` does so in Node 20, and finds the same files twice.
 */
export function* listTree(root: string, below = ''): Generator<Listed> {
  for (const entry of readdirSync(join(root, below)).sort()) {
    const name = join(below, entry)
    const stat = lstatSync(join(root, name))
    yield { name, stat }
    if (stat.isDirectory()) yield* listTree(root, name)
  }
}
