export * from './host-directory.ts'
export * from './layer.ts'
export * from './merged-tree.ts'
