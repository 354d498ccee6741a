import { encodePath, type Name, type PathText, UsageError } from '../../base/index.ts'
import type { Exclusion } from './exclusion.ts'

/** One character of UTF-8, or a byte that belongs to none; names are bytes in latin1. */
const CHARACTER = '(?:[\\xc0-\\xf7][\\x80-\\xbf]+|[^/])'

/**
 * What patterns name. A pattern with a `/` before its end is a path from the root of the tree, any other one a name in every
 * directory. `*` stands for any characters of a name, `?` for one, `[a-z]` for one of a set, `**` as a whole name for any
 * number of directories; `\` takes the meaning of what follows it.
 * @throws UsageError for a pattern that names nothing, or a set that does not end
 */
export function excludeGlobs(patterns: readonly PathText[]): Exclusion {
  const all = patterns.map(compileGlob)
  return { excludes: (path) => all.some((pattern) => pattern.test(path)) }
}

function compileGlob(pattern: PathText): RegExp {
  const text: Name = encodePath(pattern).toString('latin1')
  const trimmed = text.replace(/^(\.?\/)+/, '').replace(/\/+$/, '')
  if (trimmed === '' || trimmed === '.') {
    throw new UsageError(`pattern ${JSON.stringify(pattern)}: it names nothing below the root of the tree`)
  }
  const isPath = trimmed.includes('/') || text.startsWith('/') || text.startsWith('./')
  const names = trimmed.split('/').filter((name, i, all) => !(name === '**' && all[i + 1] === '**'))
  const parts = names.map((name, i) => {
    const isLast = i === names.length - 1
    if (name === '**') return isLast ? '[^/]+(?:/[^/]+)*' : '(?:[^/]+/)*'
    return compileName(name, pattern) + (isLast ? '' : '/')
  })
  return new RegExp(`^${isPath ? '' : '(?:.*/)?'}${parts.join('')}$`, 's')
}

function compileName(name: Name, pattern: PathText): string {
  let source = ''
  for (let at = 0; at < name.length; ) {
    const [token = ''] = /^(?:\\.|\*+|\[[!^]?\]?[^\]]*\]|.)/s.exec(name.slice(at)) ?? []
    at += token.length
    if (token.startsWith('*')) source += '[^/]*'
    else if (token === '?') source += CHARACTER
    else if (token.startsWith('\\') && token.length === 2) source += escaped(token.slice(1))
    else if (token.startsWith('[')) source += compileSet(token, pattern)
    else source += escaped(token)
  }
  return source
}

function compileSet(token: string, pattern: PathText): string {
  const [, negation = '', members = ''] = /^\[([!^]?)([ -~]+)\]$/s.exec(token) ?? []
  const complaint = `pattern ${JSON.stringify(pattern)}: the set at ${JSON.stringify(token)}`
  if (members === '') throw new UsageError(`${complaint} is none: "\\[" is the character itself`)
  const ranges = members.replace(/[\\\]^[]/g, '\\$&')
  try {
    return new RegExp(`[${negation === '' ? '' : '^/'}${ranges}]`).source
  } catch {
    throw new UsageError(`${complaint} has a range that ends before it begins`)
  }
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
}
