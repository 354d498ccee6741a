import { readFileSync } from 'node:fs'

/**
 * The parts of the page that are files of their own. The build (`scripts/build.mjs`) puts their texts in the place of these
 * calls, which therefore have a literal path each.
 */
export const PAGE_STYLE: string = read('./page.css')
export const PAGE_SCRIPT: string = read('./page.js')
export const TREEMAP_SCRIPT: string = read('../../../node_modules/d3-hierarchy/dist/d3-hierarchy.min.js')
export const TREEMAP_LICENSE: string = read('../../../node_modules/d3-hierarchy/LICENSE')

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}
