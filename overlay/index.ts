export * from './host-directory.ts'
export * from './layer.ts'
export * from './merged-tree.ts'
export { type IdRange, type IdRule, OVERFLOW_ID } from './owner.ts'
