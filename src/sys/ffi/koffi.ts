import { createRequire } from 'node:module'
import type Koffi from 'koffi'

/**
 * The foreign function library. It is CommonJS: an import would make Node search its sources for exported names, at
 * some 10 ms for each thread. So it is required.
 */
export const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
