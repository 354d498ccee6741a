/** Whether `inner` is `outer` or lies in it; both absolute and without symbolic links. */
export function containsPath(outer: string, inner: string): boolean {
  return inner === outer || inner.startsWith(outer === '/' ? '/' : `${outer}/`)
}
