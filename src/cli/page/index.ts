export { formatPage } from './page.ts'
export { PAGE_LAYERS, type PageData, pageData } from './page-data.ts'
