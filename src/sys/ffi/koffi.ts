import { createRequire } from 'node:module'
import type Koffi from 'koffi'

/**
 * The foreign function library, required instead of imported: it is CommonJS, and importing it makes Node look
 * through its sources for names to export, which every thread would pay for with some 10 ms at its start.
 */
export const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
