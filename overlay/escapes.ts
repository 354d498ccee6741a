/** For those who make layers outside of an overlay: what is data, and looks like a mark, is stored under other names. */

export { escapedFileName, unescapedFileName } from './stored/file-names.ts'
export { escapedName } from './stored/xattr-names.ts'
