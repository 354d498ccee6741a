export { InputCache } from './cache.ts'
export type { StartUp, Subject, TreeFacts } from './facts.ts'
export { Inputs, type TreeName } from './images.ts'
export { expectedFrom, runStartUp } from './start-ups.ts'
