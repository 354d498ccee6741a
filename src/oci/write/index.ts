export { LayoutWriter } from './layout-writer.ts'
export { type ImageTarget, parseTarget } from './target.ts'
