/** What is in a source, without a mount: extracted, listed, printed, compared. */

export { DIFFERENCES, type Difference, type DiffItem, diffContents } from './diff/diff.ts'
export { type FileAttributes, giveAttributes } from './extract/attributes.ts'
export { type ExtractRequest, extractSource } from './extract/extract.ts'
export { beginFile, finishFile } from './extract/make-file.ts'
export { makeSpecial } from './extract/make-special.ts'
export { type Owners, possibleOwners } from './extract/owners.ts'
export type { ExtractListener, ExtractReport } from './extract/report.ts'
export { type ListedFile, type ListedItem, listContents } from './list.ts'
export { type Listed, listDirectory } from './listing.ts'
export { readFile } from './read-file.ts'
export { type Contents, type ContentsRequest, openContents, prepareContents } from './source-contents.ts'
export { childPath, refusalOf } from './texts.ts'
